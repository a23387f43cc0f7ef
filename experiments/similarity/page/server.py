"""The server itself: uvicorn, which Ctrl-C ends without ado."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

_CLIENTS = 200  # requests at once; beyond it the server says 503


class Server(uvicorn.Server):
    """Serves an application till Ctrl-C or SIGTERM."""

    def __init__(self, app: FastAPI, end_work: Callable[[], None]) -> None:
        """`end_work` ends what requests wait for: called first of all when the server ends."""
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                limit_concurrency=_CLIENTS,
                timeout_keep_alive=10,
                timeout_graceful_shutdown=2,
                server_header=False,
            )
        )
        self._end_work = end_work

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve on the sockets; returns after Ctrl-C."""
        with suppress(KeyboardInterrupt):  # uvicorn ends in good order, then raises it again
            super().run(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: visitors that are still sending are cut off, which is no error to speak of."""
        logging.getLogger("uvicorn.error").disabled = True
        self._end_work()
        await super().shutdown(sockets)
