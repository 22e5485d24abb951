"""What a Celery worker of dagster-celery reads; its folder must be on PYTHONPATH."""

import os

broker_url = result_backend = os.environ["AICMO_CELERY_URL"]

# A worker takes no run before it can begin it: what it had taken would be lost with it for long.
worker_prefetch_multiplier = 1
worker_disable_prefetch = True
# One that was lost on its way to a worker is handed out again after so many seconds.
broker_transport_options = {"visibility_timeout": 300}
# A process is replaced after as many runs, and what it has hoarded of memory is given back.
worker_max_tasks_per_child = 100
# Results say what became of a run's task; nobody asks after a day.
result_expires = 86_400
broker_connection_retry_on_startup = True
