"""The database: SQLAlchemy Core on SQLite and PostgreSQL, one module a subject, named operations.

Not here: rules about leads (`domain`) or anything that knows Dagster.
"""
