"""The five stages over the database: read, let the domain decide, write in one transaction, report.

Nothing here knows Dagster, so that the assets, the command line and the API run the very same code.
Not here: the rules themselves (`domain`), or SQL (`store`).
"""
