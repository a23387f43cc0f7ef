"""Who may ask what: names of the host, pages from elsewhere, headers; errors as JSON."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from experiments.similarity.page.engine import BusyError
from experiments.similarity.page.uploads import RefusedError
from lib.caffe.service import EngineDied
from lib.errors import UserError

# Nothing from elsewhere is loaded, no script stands in the page itself, nobody may frame it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def allowed_names(host: str) -> list[str]:
    """The host names that a browser may ask for when the page is served on `host`.

    Another name that leads here is a page from elsewhere in disguise (DNS rebinding). On all
    addresses (0.0.0.0, ::) these are the machine's own names and addresses.
    """
    names = {"localhost", "127.0.0.1", "::1", host.strip("[]").lower()}
    if host in ("0.0.0.0", "::"):
        name = socket.gethostname().lower()
        names |= {name, name.partition(".")[0], f"{name.partition('.')[0]}.local"}
        names |= _own_addresses()
    return sorted(names - {"", "0.0.0.0", "::"})


def _own_addresses() -> set[str]:
    """The addresses of this machine's networks, as the kernel lists them."""
    found = set()
    try:
        lines = Path("/proc/net/fib_trie").read_text().splitlines()
        for line, after in pairwise(lines):
            if "/32 host LOCAL" in after and "|--" in line:
                found.add(line.split()[-1])
    except OSError:
        pass
    try:
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            packed = bytes.fromhex(line.split()[0])
            found.add(socket.inet_ntop(socket.AF_INET6, packed))
    except (OSError, ValueError, IndexError):
        pass
    return found


def add_guard(app: FastAPI, hosts: list[str]) -> None:
    """Let an application answer only for `hosts`, and its own page only change anything."""

    @app.middleware("http")
    async def guard(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        host = request.headers.get("host", "")
        if _name(host) not in hosts:
            return problem(400, "the page is not served under that name")
        if request.method not in ("GET", "HEAD") and not _own_page(request, host):
            return problem(403, "only this page may send images and ask the engine")
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response


def _own_page(request: Request, host: str) -> bool:
    """Whether a request comes from the page itself, or from no browser at all."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return False
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _name(host: str) -> str | None:
    """The name in a Host header, without the port."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return None
    return name.lower() if name else None


def add_errors(app: FastAPI) -> None:
    """Let an application say what is wrong in one line of JSON."""

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        more = {"Retry-After": "2"} if error.status == 503 else None
        return problem(error.status, str(error), more)

    @app.exception_handler(BusyError)
    async def busy(_: Request, error: BusyError) -> JSONResponse:
        return problem(503, str(error), {"Retry-After": str(error.seconds)})

    @app.exception_handler(EngineDied)
    async def died(_: Request, error: EngineDied) -> JSONResponse:
        return problem(
            503, f"the engine stopped and is started anew: {error}", {"Retry-After": "5"}
        )

    @app.exception_handler(UserError)
    async def user_error(_: Request, error: UserError) -> JSONResponse:
        return problem(422, str(error))

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return problem(422, f"{first['loc'][-1]}: {first['msg']}")


def problem(status: int, words: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """What is wrong, as JSON."""
    words = words.encode("utf-8", "backslashreplace").decode()
    return JSONResponse({"error": words}, status, {**HEADERS, **(headers or {})})
