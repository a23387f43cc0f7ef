"""The server itself: uvicorn with limits for each connection; Ctrl-C ends it quietly."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

_CONNECTIONS = 400  # open at once; beyond it the one that has been idle for longest is closed
_REQUEST_SECONDS = 10  # until a connection has sent its request's headers


class LimitedConnection(H11Protocol):
    """One connection: closed when it sends no whole request in time, or when others need its place.

    All connections of a server share `open_ones`.
    """

    open_ones: dict[LimitedConnection, float]  # connection -> since when it is idle

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: Any) -> None:
        """Take a place, if need be that of the connection that has been idle for longest."""
        super().connection_made(transport)
        if len(self.open_ones) >= _CONNECTIONS:
            idle = [each for each in self.open_ones if not each._busy]
            oldest = min(idle, key=self.open_ones.__getitem__, default=None)
            (oldest or self).close_now()
        if not transport.is_closing():
            self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._stop_waiting()
        self.open_ones.pop(self, None)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """As uvicorn does; a request whose headers are there is no longer waited for."""
        super().handle_events()
        if self._busy:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """As uvicorn does; then the next request is waited for."""
        super().on_response_complete()
        if not self.transport.is_closing() and not self._busy:
            self._await_request()

    def close_now(self) -> None:
        """End it."""
        self._stop_waiting()
        self.open_ones.pop(self, None)
        self.transport.abort()

    def _await_request(self) -> None:
        self._stop_waiting()
        self.open_ones[self] = time.monotonic()
        self._deadline = self.loop.call_later(_REQUEST_SECONDS, self._too_late)

    def _too_late(self) -> None:
        if not self._busy:
            self.close_now()

    def _stop_waiting(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = None


class Server(uvicorn.Server):
    """Serves an application till Ctrl-C or SIGTERM."""

    def __init__(self, app: FastAPI, end_work: Callable[[], None]) -> None:
        """`end_work` ends what requests wait for: called first of all when the server ends."""
        connection = type("Connection", (LimitedConnection,), {"open_ones": {}})
        super().__init__(
            uvicorn.Config(
                app,
                http=connection,
                ws="none",
                log_level="warning",
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
