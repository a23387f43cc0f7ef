"""Downloads on one client: bounded, resumed where they broke off, never half taken."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from lib.cli import bar
from lib.errors import UserError
from lib.files import readable, require_space, write_text

USER_AGENT = "fine-art-caffe/0.1 (research on art classification)"

_TRIES = 3  # breaks in a row without a byte of progress before an address is given up
_MOST_TRIES = 50
_MOST_BYTES = 2**33  # no weights are that large; an endless answer is cut off
_REDIRECTS = 5
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Timeouts:
    """How long to wait, in seconds."""

    connect: float = 20
    stall: float = 60  # without a single byte
    pause: float = 2  # before resuming
    total: float = 12 * 3600  # for one answer, however it comes


TIMEOUTS = Timeouts()


class FetchError(Exception):
    """An address does not give what was asked for; the message says why."""


class PassingError(FetchError):
    """A failure that may pass; another try is worth it. `unreachable`: no answer came at all."""

    def __init__(self, why: str, *, unreachable: bool = False) -> None:
        super().__init__(why)
        self.unreachable = unreachable


class NoConnectionError(PassingError):
    """The server could not be reached at all."""


class GivenUpError(FetchError):
    """The address may give it another day: what came so far is kept."""


class Client:
    """One connection to servers that may be slow, broken or hostile. For one thread.

    Everything is bounded: the bytes of an answer after decoding, and the time that one takes from
    the first byte of its headers to the last of its body.
    """

    def __init__(
        self,
        timeouts: Timeouts = TIMEOUTS,
        *,
        largest: int = _MOST_BYTES,
        user_agent: str = USER_AGENT,
    ) -> None:
        self._timeouts = timeouts
        self._largest = largest
        self._socket: socket.socket | None = None
        self._client = httpx.Client(
            limits=httpx.Limits(max_connections=1),
            follow_redirects=True,
            max_redirects=_REDIRECTS,
            timeout=httpx.Timeout(timeouts.stall, connect=timeouts.connect),
            headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[Answer]:
        """The answer to a GET, redirections followed; its body has not been read yet.

        Raises FetchError, also for what goes wrong while the body is read in the `with`.
        """
        late = threading.Event()
        timer = threading.Timer(self._timeouts.total, self._end, [late])
        timer.daemon = True
        timer.start()
        try:
            with self._client.stream(
                "GET", url, headers=headers, extensions={"trace": self._trace}
            ) as response:
                yield Answer(response, self._largest)
            if late.is_set():  # a body without a length just seems to end
                raise self._late()
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, ValueError, zlib.error) as error:
            if late.is_set():
                raise self._late() from None
            raise self._plain(error) from None
        finally:
            timer.cancel()

    def _late(self) -> FetchError:
        return PassingError(f"not whole after {self._timeouts.total:g} seconds")

    def _trace(self, name: str, info: Mapping[str, Any]) -> None:
        if name in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")

    def _end(self, late: threading.Event) -> None:
        """Wake up whoever waits for bytes of this connection."""
        late.set()
        with contextlib.suppress(OSError):
            if self._socket:
                self._socket.shutdown(socket.SHUT_RDWR)

    def _plain(self, error: Exception) -> FetchError:
        words = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, httpx.TooManyRedirects):
            return FetchError(f"more than {_REDIRECTS} redirections, or in a circle")
        if isinstance(error, httpx.UnsupportedProtocol):
            return FetchError("its address, or where it leads, is neither http nor https")
        if isinstance(error, httpx.InvalidURL | UnicodeError):
            return FetchError(f"not a valid address: {words}")
        if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError):
            return NoConnectionError(f"connection failed: {words}", unreachable=True)
        if isinstance(error, httpx.TimeoutException):
            text = f"the connection stalled: no answer in {self._timeouts.stall:g} seconds"
            return PassingError(text, unreachable=True)
        if isinstance(error, httpx.ReadError | httpx.WriteError):
            return PassingError(f"connection failed: {words}", unreachable=True)
        if isinstance(error, httpx.RemoteProtocolError):
            if "incomplete" in words or "without sending" in words:
                return PassingError("the connection broke off")
            return PassingError(f"the server answers nonsense: {words}")
        if isinstance(error, zlib.error):
            return FetchError(f"its compression is broken: {words}")
        return FetchError(f"the server answers nonsense: {words}")


class Answer:
    """What a server answers: its headers, and its body piece by piece."""

    def __init__(self, response: httpx.Response, largest: int) -> None:
        self.status = response.status_code
        self.reason = f"{response.status_code} {response.reason_phrase}".strip()
        self._response = response
        self._largest = largest
        coding = self.header("Content-Encoding").lower()
        if coding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise FetchError(f"the server sends it as '{coding[:40]}', which was not asked for")
        self._unpack = None if coding in ("", "identity") else zlib.decompressobj(wbits=47)

    @property
    def is_packed(self) -> bool:
        """Whether the body comes compressed: its length and ranges are not those of the file."""
        return self._unpack is not None

    def header(self, name: str) -> str:
        """A header; empty where there is none, or one that is longer or odder than headers are."""
        value = str(self._response.headers.get(name, "")).strip()
        return value if len(value) <= 300 and value.isascii() and value.isprintable() else ""

    def pieces(self) -> Iterator[bytes]:
        """The decoded body as it comes. Raises FetchError when it is larger than allowed."""
        total = 0
        for piece in self._response.iter_raw():
            while piece:
                if self._unpack is None:
                    block, piece = piece, b""
                else:
                    block = self._unpack.decompress(piece, _BLOCK)
                    piece = self._unpack.unconsumed_tail
                total += len(block)
                if total > self._largest:
                    raise FetchError(f"larger than {readable(self._largest)}")
                yield block
        if self._unpack is not None and not self._unpack.eof:
            raise PassingError("the connection broke off: the compressed body is not whole")


def number(text: str) -> int | None:
    """A number of bytes in a header; None where there is none that a file can have."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def download(
    urls: Sequence[str],
    path: Path,
    use: Callable[[Path, str], None],
    *,
    what: str,
    timeouts: Timeouts = TIMEOUTS,
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
            _fetch(url, part, what, timeouts)
        except FetchError as error:
            failures.append(f"{url}: {error}")
            if not isinstance(error, GivenUpError):
                _forget(part)
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


def _fetch(url: str, part: Path, what: str, timeouts: Timeouts) -> None:
    """Download until complete, resuming after each break; raises FetchError."""
    idle = furthest = 0
    with Client(timeouts) as client:
        for _ in range(_MOST_TRIES):
            try:
                return _once(client, url, part, what)
            except NoConnectionError as error:
                raise GivenUpError(f"no connection ({error})") from None
            except PassingError as error:
                reached = part.stat().st_size if part.exists() else 0
                idle = 0 if reached > furthest else idle + 1
                furthest = max(furthest, reached)
                if idle >= _TRIES:
                    raise GivenUpError(f"{error} after {readable(reached)}") from None
                time.sleep(timeouts.pause)
    raise GivenUpError(f"the connection broke off {_MOST_TRIES} times")


def _once(client: Client, url: str, part: Path, what: str) -> None:
    """One request: the rest of what is there, or everything."""
    validator = _remembered(part)
    offset = part.stat().st_size if validator and part.exists() else 0
    headers = {}
    if validator and offset:
        headers = {"Range": f"bytes={offset}-", "If-Range": validator}
    with client.get(url, headers) as answer:
        if answer.status == 416 and offset:
            if answer.header("Content-Range") == f"bytes */{offset}":
                return  # we have it all
            _forget(part)
            raise PassingError("the server would not go on")
        if answer.status not in (200, 206):
            raise GivenUpError(f"HTTP {answer.reason}")
        if "html" in answer.header("Content-Type"):
            raise FetchError("a web page came instead of the file")
        start, total = _extent(answer, offset)
        if total is not None and total > _MOST_BYTES:
            raise FetchError(f"{readable(total)} are offered; that is no model")
        require_space(part.parent, (total or 0) - start, what)
        if not start:
            _forget(part)
            _remember(part, answer)
        elif _validator(answer) not in (None, validator):
            _forget(part)
            raise PassingError("the file changed on the server")
        _write(answer, part, start, total, what)
    size = part.stat().st_size
    if total is not None and size != total:
        raise PassingError(f"the connection broke off at {readable(size)} of {readable(total)}")


def _write(answer: Answer, part: Path, start: int, total: int | None, what: str) -> None:
    with (
        part.open("r+b" if start else "wb") as handle,
        bar(
            what=what, unit="B", total=total, initial=start, unit_scale=True, unit_divisor=1000
        ) as progress,
    ):
        handle.seek(start)
        for block in answer.pieces():
            if handle.tell() + len(block) > (_MOST_BYTES if total is None else total):
                raise FetchError("more bytes came than were announced")
            try:
                handle.write(block)
            except OSError as error:
                raise UserError(f"cannot write {part}: {error.strerror}") from None
            progress.update(len(block))


def _extent(answer: Answer, offset: int) -> tuple[int, int | None]:
    """Where the answer begins in the file, and the file's size if it is said."""
    if answer.status == 200:
        return 0, None if answer.is_packed else number(answer.header("Content-Length"))
    extent = answer.header("Content-Range")
    match = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", extent)
    if not match or int(match[1]) != offset or answer.is_packed:
        raise FetchError(f"asked to go on at byte {offset}, the server sent '{extent}'")
    return offset, number(match[3])


def _validator(answer: Answer) -> str | None:
    """A strong ETag, else Last-Modified: what If-Range may be asked with (RFC 9110, 13.1.5)."""
    if answer.is_packed:
        return None  # its ranges would be those of other bytes
    etag = answer.header("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    return answer.header("Last-Modified") or None


def _note(part: Path) -> Path:
    """Where the validator of a part is kept; without one, it can't be gone on with."""
    return part.with_name(part.name + ".validator")


def _remembered(part: Path) -> str | None:
    """The validator; None where there is none that a header can carry."""
    try:
        text = _note(part).read_bytes().decode("ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return text if text and text.isprintable() else None


def _remember(part: Path, answer: Answer) -> None:
    if validator := _validator(answer):
        write_text(_note(part), validator)


def _forget(part: Path) -> None:
    _note(part).unlink(missing_ok=True)
    part.unlink(missing_ok=True)
