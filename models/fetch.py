"""Downloads a large file so that nothing is lost: resumed where it broke off, never half taken."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from lib.cli import bar
from lib.errors import UserError
from lib.files import readable, require_space, write_text

_TRIES = 3  # breaks in a row without a byte of progress before an address is given up
_MOST_TRIES = 50
_MOST_BYTES = 2**33  # no weights are that large; an endless answer is cut off


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds."""

    connect: float = 20
    stall: float = 60  # without a single byte
    pause: float = 2  # before resuming


PATIENCE = Patience()


class _Failed(Exception):
    """This address does not give the file; the message says why."""


def download(
    urls: Sequence[str],
    path: Path,
    use: Callable[[Path, str], None],
    *,
    what: str,
    patience: Patience = PATIENCE,
) -> str:
    """Get a file from the first of `urls` that gives a good one, hand it to `use`, and remove it.

    It comes into `<path>.<mark of the address>.part`; a later call goes on from there if the server
    still has the same file. `use(file, url)` gets it when it is complete, checks it and puts it in
    place; if it raises UserError the file is thrown away and the next address tried. Returns the
    address used.

    Raises UserError, naming each address and what was wrong with it, when none gives the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in urls:
        part = path.with_name(f"{path.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part")
        try:
            _bring(url, part, what, patience)
        except _Failed as error:
            failures.append(f"{url}: {error}")
            continue
        try:
            use(part, url)
        except UserError as error:
            failures.append(f"{url}: {error}")
            continue
        finally:
            _forget(part)
        of_others = re.compile(rf"{re.escape(path.name)}\.[0-9a-f]{{8}}\.part(\.validator)?")
        for leftover in list(path.parent.iterdir()):
            if of_others.fullmatch(leftover.name):
                leftover.unlink()
        return url
    raise UserError(f"could not get {what}: {'; '.join(failures)}")


def _bring(url: str, part: Path, what: str, patience: Patience) -> None:
    """Download until complete, resuming after each break; raises _Failed."""
    idle = furthest = 0
    for _ in range(_MOST_TRIES):
        try:
            return _once(url, part, what, patience)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            raise _Failed(f"no connection ({_words(error)})") from None
        except (httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise _Failed(_words(error)) from None
        except httpx.TransportError as error:
            reached = part.stat().st_size if part.exists() else 0
            idle = 0 if reached > furthest else idle + 1
            furthest = max(furthest, reached)
            if idle >= _TRIES:
                raise _Failed(f"{_words(error)} after {readable(reached)}") from None
            time.sleep(patience.pause)
    raise _Failed(f"the connection broke off {_MOST_TRIES} times")


def _once(url: str, part: Path, what: str, patience: Patience) -> None:
    """One request: the rest of what is there, or everything."""
    validator = _remembered(part)
    offset = part.stat().st_size if validator and part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if offset and validator:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    timeout = httpx.Timeout(patience.stall, connect=patience.connect)
    with httpx.stream(
        "GET", url, headers=headers, timeout=timeout, follow_redirects=True
    ) as answer:
        if answer.status_code == 416 and offset:
            if answer.headers.get("Content-Range") == f"bytes */{offset}":
                return  # we have it all
            _forget(part)
            raise httpx.ReadError("the server would not go on")
        if answer.status_code not in (200, 206):
            raise _Failed(f"HTTP {answer.status_code} {answer.reason_phrase}".strip())
        if "html" in answer.headers.get("Content-Type", ""):
            raise _Failed("a web page came instead of the file")
        start, total = _extent(answer, offset)
        if total is not None and total > _MOST_BYTES:
            raise _Failed(f"{readable(total)} are offered; that is no model")
        require_space(part.parent, (total or 0) - start, what)
        if not start:
            _forget(part)
            _remember(part, answer)
        elif _validator(answer) not in (None, validator):
            _forget(part)
            raise httpx.ReadError("the file changed on the server")
        _write(answer, part, start, total, what)
    size = part.stat().st_size
    if total is not None and size != total:
        raise httpx.ReadError(f"the connection broke off at {readable(size)} of {readable(total)}")


def _write(answer: httpx.Response, part: Path, start: int, total: int | None, what: str) -> None:
    with (
        part.open("r+b" if start else "wb") as handle,
        bar(
            what=what, unit="B", total=total, initial=start, unit_scale=True, unit_divisor=1000
        ) as progress,
    ):
        handle.seek(start)
        for block in answer.iter_raw():  # as it comes: what waits to fill a block is lost
            if handle.tell() + len(block) > (_MOST_BYTES if total is None else total):
                raise _Failed("more bytes came than were announced")
            try:
                handle.write(block)
            except OSError as error:
                raise UserError(f"cannot write {part}: {error.strerror}") from None
            progress.update(len(block))


def _extent(answer: httpx.Response, offset: int) -> tuple[int, int | None]:
    """Where the answer begins in the file, and the file's size if it is said."""
    if answer.status_code == 200:
        length = answer.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    said = answer.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", said)
    if not match or int(match[1]) != offset:
        raise _Failed(f"asked to go on at byte {offset}, the server sent '{said}'")
    return offset, None if match[3] == "*" else int(match[3])


def _validator(answer: httpx.Response) -> str | None:
    """A strong ETag, else Last-Modified: what If-Range may be asked with (RFC 9110, 13.1.5)."""
    etag = answer.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    modified = answer.headers.get("Last-Modified")
    return str(modified) if modified else None


def _note(part: Path) -> Path:
    """Where the validator of a part is kept; without one, it can't be gone on with."""
    return part.with_name(part.name + ".validator")


def _remembered(part: Path) -> str | None:
    return _note(part).read_text(encoding="utf-8") if _note(part).exists() else None


def _remember(part: Path, answer: httpx.Response) -> None:
    if validator := _validator(answer):
        write_text(_note(part), validator)


def _forget(part: Path) -> None:
    _note(part).unlink(missing_ok=True)
    part.unlink(missing_ok=True)


def _words(error: Exception) -> str:
    """httpx's error in plain words."""
    if isinstance(error, httpx.ReadTimeout):
        return "the connection stalled"
    if isinstance(error, httpx.ConnectTimeout):
        return "no answer in time"
    words = " ".join(str(error).split())
    if isinstance(error, httpx.RemoteProtocolError):
        return "the connection broke off"
    return words or type(error).__name__
