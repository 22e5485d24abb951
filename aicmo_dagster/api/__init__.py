"""The service: tracking links and unsubscribing for everyone, the REST API behind tokens.

Not here: what follows from a request (`stages`), or Dagster, but for `runs`.
"""
