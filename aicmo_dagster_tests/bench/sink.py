"""A mail server that keeps nothing: ``python -m aicmo_dagster_tests.bench.sink PORT``."""

import asyncio
import sys

from aiosmtpd.smtp import SMTP


class _Sink:
    async def handle_DATA(self, _server: object, _session: object, _envelope: object) -> str:
        return "250 taken"


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(_Sink()), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
