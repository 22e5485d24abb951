-- Two databases and roles of least privilege, on a new server, by its administrator:
--
--   psql --file deploy/roles.sql
--
-- It may be run again, after an upgrade that has made new tables. Passwords are set beside it:
-- \password aicmo, and so on; without one nobody logs in.
--
-- aicmo           daemon, code server, workers, command line: owns the tables and upgrades the schema
-- aicmo_api       the API: reads and writes rows, and cannot change the schema
-- aicmo_analyst   reads figures and decisions; no address, name, message, event or secret
-- dagster         Dagster's own database and nothing of AICMO's

\set ON_ERROR_STOP on

SELECT format('CREATE ROLE %I LOGIN CONNECTION LIMIT %s', name, most)
FROM (VALUES ('aicmo', 120), ('aicmo_api', 40), ('aicmo_analyst', 10), ('dagster', 120)) AS role (name, most)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

SELECT format('CREATE DATABASE %I OWNER %I', name, name)
FROM (VALUES ('aicmo'), ('dagster')) AS wanted (name)
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec

REVOKE CONNECT, TEMPORARY ON DATABASE aicmo, dagster FROM PUBLIC;
-- Temporary tables are how frames are loaded.
GRANT CONNECT, TEMPORARY ON DATABASE aicmo TO aicmo_api;
GRANT CONNECT ON DATABASE aicmo TO aicmo_analyst;

\connect aicmo

GRANT USAGE ON SCHEMA public TO aicmo_api, aicmo_analyst;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO aicmo_api;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO aicmo_api;
ALTER DEFAULT PRIVILEGES FOR ROLE aicmo IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO aicmo_api;
ALTER DEFAULT PRIVILEGES FOR ROLE aicmo IN SCHEMA public GRANT USAGE ON SEQUENCES TO aicmo_api;

ALTER ROLE aicmo_analyst SET default_transaction_read_only = on;
ALTER ROLE aicmo_analyst SET statement_timeout = '5min';
SELECT format('GRANT SELECT ON public.%I TO aicmo_analyst', name)
FROM unnest(ARRAY[
    'qualified_leads', 'routed_leads', 'engagement', 'stage_results', 'stage_states',
    'ticks', 'experiments'
]) AS listed (name)
WHERE to_regclass('public.' || name) IS NOT NULL \gexec
-- Of these, the columns that hold no content.
SELECT format('GRANT SELECT (%s) ON public.%I TO aicmo_analyst', columns, name)
FROM (VALUES
    ('scored_leads', 'campaign, lead_id, score, scale, model, band'),
    ('decisions', 'id, campaign, lead_id, stage, outcome, decided_at, campaign_version'),
    ('nurture_sends', 'campaign, lead_id, sequence, step, variant, state, due_at, sent_at, attempts'),
    ('campaigns', 'campaign, name, version, state, created_at, updated_at'),
    ('models', 'campaign, version, kind, state, metrics, trained_at')
) AS listed (name, columns)
WHERE to_regclass('public.' || name) IS NOT NULL \gexec
