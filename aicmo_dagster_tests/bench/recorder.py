"""A mail server that keeps a list: ``python -m aicmo_dagster_tests.bench.recorder PORT FILE``.

Each message it has taken is one line of FILE, its Message-ID, written before the answer goes out:
what a sender never heard of is in the list all the same.
"""

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

_MESSAGE_ID = re.compile(rb"^Message-ID: (<[^>]*>)", re.MULTILINE)


class _Recorder:
    def __init__(self, path: Path, delay: float) -> None:
        self._file = path.open("ab", buffering=0)
        self._delay = delay

    async def handle_EHLO(
        self, _server: Any, session: Session, _envelope: Envelope, host: str, answer: list[str]
    ) -> list[str]:
        session.host_name = host
        return [*answer[:-1], "250-PIPELINING", answer[-1]]

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:
        found = _MESSAGE_ID.search(bytes(envelope.content or b""))
        assert found is not None
        await asyncio.sleep(self._delay)
        self._file.write(found[1] + b"\n")
        await asyncio.sleep(self._delay)
        return "250 taken"


async def _serve(port: int, path: Path, delay: float) -> None:
    recorder = _Recorder(path, delay)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(recorder), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
