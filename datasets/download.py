"""Downloads images politely: few connections, a rate limit, and the server's own wishes honoured.

An image counts only when it was decoded in full; then it takes its place in one step. So a
download may be stopped at any moment, and the next one goes on with what is missing.
"""

from __future__ import annotations

import csv
import email.utils
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from datasets.decode import BrokenImageError, decode, read_bytes
from lib.cli import bar
from lib.errors import UserError
from lib.exclusive_lock import exclusive_lock
from lib.fetch import (
    USER_AGENT,
    Answer,
    Client,
    FetchError,
    PassingError,
    Timeouts,
    number,
)
from lib.files import readable, remove_leftovers, whole_file

_BUSY = (408, 425, 429, 500, 502, 503, 504)  # worth another try
_LONGEST_WAIT = 600  # seconds that a server may ask for before the whole download stops
_DEAD = 10  # failures to reach the server in a row, after which it is left alone


class Wanted(NamedTuple):
    """An image to get: where it goes, relative to the image root, and its address."""

    path: str
    url: str | None


class Failure(NamedTuple):
    """An image that could not be had, and why."""

    path: str
    url: str | None
    why: str


@dataclass(frozen=True)
class RateLimit:
    """How much a server is asked for, and how long it is waited for."""

    connections: int = 2  # at a time
    per_second: float = 4  # requests, over all connections
    attempts: int = 4  # for each image
    patience: float = 30  # seconds for each answer or piece of it; ten times that for an image
    backoff: float = 2  # seconds before the second attempt; doubled before each further one
    largest: int = 100_000_000  # bytes of a file
    user_agent: str = USER_AGENT


@dataclass(frozen=True)
class Outcome:
    """What a download came to."""

    there: int  # before it began
    got: int
    failures: list[Failure]
    stopped: str  # why it ended before everything was tried; "" if it did not


def download(
    wanted: Sequence[Wanted], root: Path, limits: RateLimit | None = None, *, check: bool = False
) -> Outcome:
    """Get what is missing of `wanted` below `root`. With `check`, broken files count as missing.

    Failures are gathered, not raised. Raises UserError when the disk is full, `root` cannot be
    written to, or another process downloads to it.
    """
    limits = limits or RateLimit()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder {root} cannot be made: {error.strerror}") from None
    if not os.access(root, os.W_OK):
        raise UserError(f"the folder {root} cannot be written to; change its owner or its mode")
    with exclusive_lock(root, f"a download to {root}", wait=False):
        remove_leftovers(root / one.path for one in wanted)
        return _download(wanted, root, limits, check)


def _download(wanted: Sequence[Wanted], root: Path, limits: RateLimit, check: bool) -> Outcome:
    missing = [one for one in wanted if not _is_there(root, one.path, check)]
    crawl = _Crawl(missing, root, limits)
    with bar(what="images", unit="image", total=len(missing)) as progress:
        threads = [
            threading.Thread(target=crawl.work, daemon=True)
            for _ in range(min(limits.connections, len(missing)))
        ]
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                time.sleep(0.05)
                progress.update(crawl.done - progress.n)
                progress.set_postfix(failed=len(crawl.failures), refresh=False)
        finally:
            crawl.stop.set()
            for thread in threads:
                thread.join(timeout=3)  # one that waits for an answer ends with the client
        progress.update(crawl.done - progress.n)
    if crawl.error:
        raise crawl.error
    return Outcome(
        there=len(wanted) - len(missing),
        got=crawl.done - len(crawl.failures),
        failures=sorted(crawl.failures),
        stopped=crawl.stopped,
    )


def write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """Write what failed and why as a CSV (image, url, why); without failures it is removed."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    with whole_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["image", "url", "why"])
        rows.writerows(failures)


def _is_there(root: Path, path: str, check: bool) -> bool:
    file = root / path
    if not check:
        try:
            return file.is_file()
        except OSError:  # too long a name
            return False
    try:
        decode(read_bytes(file))
    except BrokenImageError:
        return False
    return True


class _TryAgainError(Exception):
    """A failure that may pass; `wait` is what the server asked for, in seconds."""

    def __init__(self, why: str, *, wait: float = 0, unreachable: bool = False) -> None:
        super().__init__(why)
        self.wait = wait
        self.unreachable = unreachable


class _HopelessError(Exception):
    """A failure that another attempt would only repeat."""


class _Crawl:
    """What the threads of one download share."""

    def __init__(self, missing: Sequence[Wanted], root: Path, limits: RateLimit) -> None:
        self.failures: list[Failure] = []
        self.done = 0
        self.stopped = ""
        self.error: Exception | None = None
        self.stop = threading.Event()
        self._root = root
        self._limits = limits
        self._lock = threading.Lock()
        self._queue: Iterator[Wanted] = iter(missing)
        self._next_request = 0.0  # on the monotonic clock
        self._unreachable = 0  # in a row

    def work(self) -> None:
        """Get images until none is left, or until told to stop."""
        limits = self._limits
        timeouts = Timeouts(limits.patience, limits.patience, total=10 * limits.patience)
        with Client(timeouts, largest=limits.largest, user_agent=limits.user_agent) as client:
            self._work(client)

    def _work(self, client: Client) -> None:
        while not self.stop.is_set():
            with self._lock:
                one = next(self._queue, None)
            if one is None:
                return
            try:
                why = self._get(client, one)
            except Exception as error:  # the disk is full, or a flaw of ours: `download` raises it
                self.error = error
                self.stop.set()
                return
            if why is None:  # stopped half-way: neither done nor failed
                return
            with self._lock:
                self.done += 1
                if why:
                    self.failures.append(Failure(one.path, one.url, why))

    def _get(self, client: Client, one: Wanted) -> str | None:
        """Get one image. '' when it is there now, else why not; None when the download stops."""
        if not one.url:
            return "the catalogue has no address for it"
        if not one.url.startswith(("http://", "https://")):
            return "its address is neither http nor https"
        place = PurePosixPath(one.path)
        if place.is_absolute() or ".." in place.parts:
            return "its path leads out of the image folder"
        why = ""
        for attempt in range(self._limits.attempts):
            pause = self._limits.backoff * 2 ** (attempt - 1) if attempt else 0
            if self.stop.wait(pause) or not self._take_turn():
                return None
            try:
                self._store(one.path, self._fetch(client, one.url))
            except _HopelessError as error:
                self._reached()
                return str(error)
            except _TryAgainError as error:
                why = str(error)
                if not self._still_welcome(error):
                    return None
            else:
                self._reached()
                return ""
        return f"{why} ({self._limits.attempts} attempts)"

    def _take_turn(self) -> bool:
        """Wait until the next request is due; False when the download stops meanwhile."""
        while not self.stop.is_set():
            with self._lock:
                now = time.monotonic()
                if self._next_request <= now:
                    self._next_request = now + 1 / self._limits.per_second
                    return True
                pause = self._next_request - now
            self.stop.wait(pause)
        return False

    def _reached(self) -> None:
        with self._lock:
            self._unreachable = 0

    def _still_welcome(self, error: _TryAgainError) -> bool:
        """Hold everybody back as long as the server asked; False if that ends the download."""
        with self._lock:
            self._unreachable = self._unreachable + 1 if error.unreachable else 0
            self._next_request = max(self._next_request, time.monotonic() + error.wait)
            if error.wait > _LONGEST_WAIT:
                self.stopped = f"the server asks to come back in {error.wait / 60:.0f} minutes"
            elif self._unreachable >= _DEAD:
                self.stopped = f"the server could not be reached {_DEAD} times in a row ({error})"
            else:
                return True
        self.stop.set()
        return False

    def _fetch(self, client: Client, url: str) -> bytes:
        """The bytes of a whole image. Raises _TryAgainError or _HopelessError."""
        try:
            with client.get(url) as answer:
                if answer.status in _BUSY:
                    raise _TryAgainError(
                        f"server error {answer.status}"
                        if answer.status != 429
                        else "the server asks to slow down (429)",
                        wait=_retry_after(answer),
                    )
                if answer.status != 200:
                    raise _HopelessError(f"the server answers {answer.reason}")
                data = self._body(answer)
                kind = answer.header("Content-Type")
        except PassingError as error:
            raise _TryAgainError(str(error), unreachable=error.unreachable) from None
        except FetchError as error:
            raise _HopelessError(str(error)) from None
        try:
            decode(data)
        except BrokenImageError as error:
            if "html" in kind or data[:200].lstrip()[:9].lower() in (b"<!doctype", b"<html>"):
                raise _HopelessError("a web page came instead of an image") from None
            raise _TryAgainError(f"what came is no whole image: {error}") from None
        return data

    def _body(self, answer: Answer) -> bytes:
        largest = self._limits.largest
        announced = number(answer.header("Content-Length"))
        if announced is not None and announced > largest:
            raise _HopelessError(f"larger than {readable(largest)}: {readable(announced)}")
        data = bytearray()
        for piece in answer.pieces():
            data += piece
            if self.stop.is_set():
                raise _TryAgainError("the download was stopped")
        return bytes(data)

    def _store(self, path: str, data: bytes) -> None:
        try:
            with whole_file(self._root / path) as aside:
                aside.write_bytes(data)
        except OSError as error:  # a name too long, a file where a folder should be
            raise _HopelessError(f"cannot be written: {error.strerror}") from None
        except ValueError as error:  # a zero byte
            raise _HopelessError(f"cannot be written: {error}") from None


def _retry_after(answer: Answer) -> float:
    """Seconds to wait that the server asks for: a number or a date (RFC 9110, 10.2.3); else 0."""
    text = answer.header("Retry-After")
    if text.isdecimal():
        return float(text)
    try:
        then = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return 0
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, (then - datetime.now(UTC)).total_seconds())
