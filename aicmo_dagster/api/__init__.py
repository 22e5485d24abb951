"""The public service: tracking links and unsubscribing over HTTP.

Not here: what follows from a request (`stages`), or Dagster, but for `runs`.
"""
