"""Applications served over real HTTP: uvicorn in a thread, on a port of its own."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from aicmo_dagster.api.app import create_app
from aicmo_dagster.settings import Settings


@contextmanager
def running(settings: Settings, address: str = "127.0.0.1") -> Iterator[str]:
    """The address of a service with `settings`; it stops at the end."""
    with serving(create_app(settings), address) as url:
        yield url


@contextmanager
def serving(app: FastAPI, address: str = "127.0.0.1") -> Iterator[str]:
    """The address where `app` is served; it stops at the end."""
    with socket.socket() as listener:
        listener.bind((address, 0))
        config = uvicorn.Config(app, http="h11", proxy_headers=False, log_level="critical")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://{address}:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()
