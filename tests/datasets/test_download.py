"""Downloads, from a server on loopback that does everything a server can do wrong."""

from __future__ import annotations

import contextlib
import csv
import gzip
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from datasets.decode import decode, read_bytes
from datasets.download import Outcome, RateLimit, Wanted, download, write_failures
from lib.errors import UserError
from lib.exclusive_lock import exclusive_lock
from tests.pictures import write_jpeg

QUICK = RateLimit(per_second=1000, attempts=3, patience=0.5, backoff=0.01, largest=200_000)


class Server:
    """A web server. `answers` maps a path to what is done with its n-th request (from 0)."""

    def __init__(self, picture: bytes) -> None:
        self.picture = picture
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler, int], None]] = {}
        self.asked: Counter[str] = Counter()
        self.times: list[float] = []
        self.agents: set[str | None] = set()
        self.at_once = self.most_at_once = 0
        lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with lock:
                    server.times.append(time.monotonic())
                    server.agents.add(self.headers.get("User-Agent"))
                    server.at_once += 1
                    server.most_at_once = max(server.most_at_once, server.at_once)
                    number = server.asked[self.path]
                    server.asked[self.path] += 1
                try:
                    server.answers.get(self.path, server.send_picture)(self, number)
                except OSError:
                    pass  # the client has hung up
                finally:
                    with lock:
                        server.at_once -= 1

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def send_picture(self, handler: BaseHTTPRequestHandler, number: int = 0) -> None:
        send(handler, 200, self.picture)


def send(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: bytes = b"",
    kind: str = "image/jpeg",
    length: int | None = None,
    **headers: str,
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(write_jpeg(tmp_path / "original" / "a.jpg", 1))
    yield made
    made.close()


def get(server: Server, root: Path, *names: str, limits: RateLimit = QUICK) -> Outcome:
    return download([Wanted(name, f"{server.url}/{name}") for name in names], root, limits)


def files(root: Path) -> set[str]:
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return found - {".lock"}


def test_images_arrive_whole_and_only_once(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "images"
    names = ("a/b c/é 1.jpg", "a/2.jpg", "3.jpg")
    outcome = get(server, root, *names)
    assert (outcome.there, outcome.got, outcome.failures, outcome.stopped) == (0, 3, [], "")
    assert files(root) == set(names)
    assert all((root / name).read_bytes() == server.picture for name in names)

    again = get(server, root, *names, "4.jpg")
    assert (again.there, again.got) == (3, 1)
    assert sum(server.asked.values()) == 4


def test_the_server_is_told_who_asks(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path / "images", "a.jpg")
    (agent,) = server.agents
    assert agent is not None
    assert agent.startswith("fine-art-caffe/")


def test_few_connections_and_a_steady_pace(server: Server, tmp_path: Path) -> None:
    def slowly(handler: BaseHTTPRequestHandler, number: int) -> None:
        time.sleep(0.1)
        server.send_picture(handler)

    names = [f"{row}.jpg" for row in range(12)]
    server.answers = {f"/{name}": slowly for name in names}
    limits = RateLimit(connections=2, per_second=15, patience=5)
    assert get(server, tmp_path / "images", *names, limits=limits).got == 12
    assert server.most_at_once == 2
    assert max(server.times) - min(server.times) >= 11 / 15 - 0.05


def test_passing_failures_are_tried_again(server: Server, tmp_path: Path) -> None:
    picture = server.picture

    def first(
        failure: Callable[[BaseHTTPRequestHandler], None],
    ) -> Callable[[BaseHTTPRequestHandler, int], None]:
        def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
            failure(handler) if number == 0 else server.send_picture(handler)

        return answer

    server.answers = {
        "/error.jpg": first(lambda handler: send(handler, 503)),
        "/late.jpg": first(lambda handler: time.sleep(1.5)),
        "/cut.jpg": first(lambda handler: send(handler, 200, picture[:400], length=len(picture))),
        "/cut_without_length.jpg": first(lambda handler: send(handler, 200, picture[:400])),
        "/gone.jpg": first(lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)),
    }
    names = [path[1:] for path in server.answers]
    outcome = get(server, tmp_path / "images", *names)
    assert outcome.failures == []
    assert outcome.got == 5
    assert set(server.asked.values()) == {2}
    assert files(tmp_path / "images") == set(names)


def _redirect(target: str) -> Callable[[BaseHTTPRequestHandler, int], None]:
    return lambda handler, number: send(handler, 302, Location=target)


def _drip(handler: BaseHTTPRequestHandler, number: int) -> None:
    """A byte now and then: never silent for long, and never done."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"\xff")
        time.sleep(0.1)


def _endless(handler: BaseHTTPRequestHandler, number: int) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(10_000))


BAD: dict[str, tuple[Callable[..., None], str, int | None]] = {
    "missing": (lambda handler, _: send(handler, 404), "404 Not Found", 1),
    "forbidden": (lambda handler, _: send(handler, 403), "403 Forbidden", 1),
    "broken server": (lambda handler, _: send(handler, 500), r"error 500 \(3 attempts\)", 3),
    "silent": (lambda handler, _: time.sleep(2), "no answer in 0.5 seconds", 3),
    "dripping": (_drip, "not whole after 5 seconds", 1),
    "web page": (
        lambda handler, _: send(handler, 200, b"<html>Sorry</html>", kind="text/html"),
        "a web page came",
        1,
    ),
    "web page called an image": (
        lambda handler, _: send(handler, 200, b"\n<!DOCTYPE html><p>Sorry</p>"),
        "a web page came",
        1,
    ),
    "nothing": (lambda handler, _: send(handler, 200), "no whole image", 3),
    "always cut": (
        lambda handler, _: send(handler, 200, b"\xff\xd8\xff\xe0 and no more"),
        "no whole image",
        3,
    ),
    "announced too large": (
        lambda handler, _: send(handler, 200, b"x", length=10_000_000),
        r"larger than 200\.0 kB: 10\.0 MB",
        1,
    ),
    "endless": (_endless, "larger than 200", 1),
    "to a file": (_redirect("file:///etc/passwd"), "neither http nor https", 1),
    "in a circle": (_redirect("/in%20a%20circle"), "in a circle", 6),
    "to nonsense": (_redirect("http://127.0.0.1:port/"), "nonsense", 3),
    "to no host": (_redirect("http://no..host/"), "not a valid address", 1),
    "wrongly compressed": (
        lambda handler, _: send(handler, 200, b"no gzip", Content_Encoding="gzip"),
        "its compression is broken",
        1,
    ),
}


def _bomb(layers: int) -> bytes:
    """50 MB of zeros, packed so many times: a few bytes to send."""
    body = bytes(50_000_000)
    for _ in range(layers):
        body = gzip.compress(body, 9)
    return body


def _trickled_headers(handler: BaseHTTPRequestHandler, number: int) -> None:
    """A letter of a header now and then: no silence is long, and the headers never end."""
    with contextlib.suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        for _ in range(100):
            handler.wfile.write(b"x")
            time.sleep(0.2)


def _raw(text: bytes) -> Callable[[BaseHTTPRequestHandler, int], None]:
    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        handler.wfile.write(text)

    return answer


BOMBS = {layers: _bomb(layers) for layers in (1, 3)}
BAD |= {
    "gzip bomb": (
        lambda handler, _: send(handler, 200, BOMBS[1], Content_Encoding="gzip"),
        "larger than 200",
        1,
    ),
    "three times gzip": (
        lambda handler, _: send(handler, 200, BOMBS[3], Content_Encoding="gzip, gzip, gzip"),
        "'gzip, gzip, gzip', which was not asked for",
        1,
    ),
    "trickled headers": (_trickled_headers, "not whole after 5 seconds", 1),
    "endless number": (
        _raw(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nx"),
        "nonsense|broke off",
        None,
    ),
    "odd headers": (
        _raw(b"HTTP/1.1 200 \xff\r\nContent-Type: \xe9\xff\r\nRetry-After: \xff\r\n\r\nx"),
        "no whole image",
        3,
    ),
    "odd wait": (
        _raw(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\nRetry-After: " + b"Mon, " * 50 + b"\r\n\r\n"),
        "server error 503",
        3,
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_lasting_failures_are_reported_and_leave_no_file(
    server: Server, tmp_path: Path, what: str
) -> None:
    answer, why, times = BAD[what]
    path = "/" + what.replace(" ", "%20")
    server.answers[path] = answer
    root = tmp_path / "images"
    attempts = 1 if what in ("dripping", "trickled headers") else 3
    limits = RateLimit(
        per_second=1000, attempts=attempts, patience=0.5, backoff=0.01, largest=200_000
    )
    outcome = download(
        [Wanted("bad.jpg", server.url + path), Wanted("good.jpg", f"{server.url}/good.jpg")],
        root,
        limits,
    )
    assert [failure.path for failure in outcome.failures] == ["bad.jpg"]
    assert re.search(why, outcome.failures[0].why)
    assert times in (None, server.asked[path])
    assert files(root) == {"good.jpg"}


def test_a_redirection_to_an_image_is_followed(server: Server, tmp_path: Path) -> None:
    server.answers["/old.jpg"] = _redirect("/new.jpg")
    assert get(server, tmp_path / "images", "old.jpg").got == 1
    assert server.asked["/new.jpg"] == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_holds_everybody_back(server: Server, tmp_path: Path, form: str) -> None:
    value = "1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)

    def busy(handler: BaseHTTPRequestHandler, number: int) -> None:
        send(handler, 429, Retry_After=value) if number == 0 else server.send_picture(handler)

    names = [f"{row}.jpg" for row in range(6)]
    server.answers = {"/0.jpg": busy}
    limits = RateLimit(connections=1, per_second=1000, backoff=0)
    assert get(server, tmp_path / "images", *names, limits=limits).got == 6
    assert server.times[1] - server.times[0] >= 0.9


@pytest.mark.parametrize("value", ["soon", "-5", "\u00b2", "Wed, 21 Oct 99999 07:28:00 GMT"])
def test_a_senseless_retry_after_is_not_waited_for(
    server: Server, tmp_path: Path, value: str
) -> None:
    def busy(handler: BaseHTTPRequestHandler, number: int) -> None:
        send(handler, 429, Retry_After=value) if number == 0 else server.send_picture(handler)

    server.answers = {"/0.jpg": busy}
    assert get(server, tmp_path / "images", "0.jpg").got == 1


def test_a_flaw_in_a_thread_is_raised_and_loses_no_image_silently(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flaw(data: bytes) -> None:
        raise RuntimeError("a flaw")

    monkeypatch.setattr("datasets.download.decode", flaw)
    with pytest.raises(RuntimeError, match="a flaw"):
        get(server, tmp_path / "images", "0.jpg", "1.jpg")


def test_a_server_that_asks_for_hours_ends_the_download(server: Server, tmp_path: Path) -> None:
    server.answers["/1.jpg"] = lambda handler, number: send(handler, 503, Retry_After="7200")
    names = [f"{row}.jpg" for row in range(6)]
    outcome = get(server, tmp_path / "images", *names, limits=RateLimit(1, 1000))
    assert "120 minutes" in outcome.stopped
    assert outcome.got == 1
    assert outcome.failures == []


def test_a_server_that_is_gone_is_left_alone(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        wanted = [Wanted(f"{row}.jpg", f"{address}/{row}.jpg") for row in range(1000)]
        outcome = download(wanted, tmp_path / "images", QUICK)
    assert "could not be reached 10 times in a row" in outcome.stopped
    assert outcome.got == 0
    assert len(outcome.failures) <= 10


@pytest.mark.parametrize(
    ("path", "url", "why"),
    [
        ("a.jpg", None, "no address"),
        ("a.jpg", "file:///etc/passwd", "neither http nor https"),
        ("a.jpg", "http://", "neither http nor https"),
        ("a.jpg", "http://no..host/a.jpg", "not a valid address"),
        ("a\0.jpg", "{server}/a.jpg", "cannot be written"),
        ("../a.jpg", "{server}/a.jpg", "out of the image folder"),
        ("/tmp/a.jpg", "{server}/a.jpg", "out of the image folder"),
        ("x" * 300 + ".jpg", "{server}/a.jpg", "cannot be written"),
    ],
)
def test_bad_rows_of_a_catalogue_are_reported(
    server: Server, tmp_path: Path, path: str, url: str | None, why: str
) -> None:
    address = url.replace("{server}", server.url) if url else None
    outcome = download([Wanted(path, address)], tmp_path / "images", QUICK)
    assert re.search(why, outcome.failures[0].why)
    assert not (tmp_path / "a.jpg").exists()


def test_check_gets_broken_files_again(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "images"
    get(server, root, "a.jpg", "b.jpg")
    (root / "b.jpg").write_bytes(server.picture[:500])
    wanted = [Wanted(name, f"{server.url}/{name}") for name in ("a.jpg", "b.jpg")]
    assert download(wanted, root, QUICK).got == 0
    assert download(wanted, root, QUICK, check=True).got == 1
    assert (root / "b.jpg").read_bytes() == server.picture


def test_a_full_disk_ends_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written aside goes to /dev/full, a disk that has no space at all."""
    names = [f"{row}.jpg" for row in range(50)]

    def full(path: Path) -> Path:
        aside = path.with_name(f".{path.name}.full.part")
        aside.symlink_to("/dev/full")
        return aside

    monkeypatch.setattr("lib.files._aside", full)
    with pytest.raises(UserError, match="no space left"):
        get(server, tmp_path / "images", *names)
    assert sum(server.asked.values()) < 10
    assert not list((tmp_path / "images").glob("*.jpg"))


def test_a_folder_that_cannot_be_is_said_before_the_first_request(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "images").touch()
    with pytest.raises(UserError, match="images cannot be made: File exists"):
        get(server, tmp_path / "images", "a.jpg")
    assert not server.asked


def test_a_second_download_does_not_ask_for_the_same_again(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "images"
    root.mkdir()
    with exclusive_lock(root, "another"), pytest.raises(UserError, match="at work already"):
        get(server, root, "a.jpg")
    assert not server.asked


def test_a_half_file_of_a_killed_download_is_removed(server: Server, tmp_path: Path) -> None:
    half = tmp_path / "images" / "a" / ".b.jpg.0.part"
    half.parent.mkdir(parents=True)
    half.write_bytes(server.picture[:100])
    others = {"a/.b.jpg.part", "a/.scan.0.part", ".film.mkv.part"}
    for name in others:
        (tmp_path / "images" / name).write_text("somebody's own")
    get(server, tmp_path / "images", "a/b.jpg", "a/c.jpg")
    assert files(tmp_path / "images") == {"a/b.jpg", "a/c.jpg", *others}


def test_failures_are_written_as_a_table_and_removed_when_none_is_left(tmp_path: Path) -> None:
    report = tmp_path / "failed.csv"
    server = Server(b"")
    outcome = get(server, tmp_path / "images", "a, b.jpg")
    server.close()
    write_failures(report, outcome.failures)
    with report.open(newline="") as handle:
        (row,) = csv.DictReader(handle)
    assert row["image"] == "a, b.jpg"
    assert row["url"].endswith("/a, b.jpg")
    assert "no whole image" in row["why"]
    write_failures(report, [])
    assert not report.exists()


def _catalogue(raw: Path, address: str, names: list[str]) -> None:
    """A catalogue of the Web Gallery of Art whose pages lie on `address`."""
    head = "AUTHOR;BORN-DIED;TITLE;DATE;TECHNIQUE;LOCATION;URL;FORM;TYPE;SCHOOL;TIMEFRAME"
    rows = [
        f"A, B;(b. 1500);Title {name};1550;Oil;Rome;{address}/html/{name}.html;painting;"
        "portrait;Italian;1501-1550"
        for name in names
    ]
    (raw / "wga").mkdir(parents=True)
    (raw / "wga" / "catalog.csv").write_text("\n".join([head, *rows]) + "\n", encoding="cp1252")


def test_the_tool_gets_a_catalogues_images_and_goes_on_after_a_kill(
    server: Server, tmp_path: Path
) -> None:
    names = [f"a/painter/{row}" for row in range(30)]
    _catalogue(tmp_path / "raw", server.url, names)
    server.answers["/art/a/painter/7.jpg"] = lambda handler, number: send(handler, 404)
    options = ["--source", "wga", "--raw", str(tmp_path / "raw"), "--per-second", "40"]
    command = [sys.executable, "-m", "tools.images", *options]
    images = tmp_path / "raw" / "wga" / "images"

    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while len(list(images.rglob("[!.]*.jpg"))) < 5 and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    there = {name for name in files(images) if not Path(name).name.startswith(".")}
    assert 5 <= len(there) < 29
    for name in there:
        decode(read_bytes(images / name))

    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert f"{29 - len(there)} images downloaded" in second.stdout
    assert f"{len(there)} were there, 1 failed" in second.stdout
    assert "404 Not Found (1)" in second.stderr
    report = (tmp_path / "raw" / "wga" / "failed_images.csv").read_text()
    assert "a/painter/7.jpg" in report
    assert all(
        (images / f"{name}.jpg").read_bytes() == server.picture
        for name in names
        if not name.endswith("/7")
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--source", "wgga"], "unknown source 'wgga': did you mean wga"),
        (["--task", "wga_atrist"], "unknown task 'wga_atrist': did you mean wga_artist"),
        (["--source", "wga"], "catalog"),
        (["--source", "wga", "--per-second", "0"], "--per-second must be more than 0"),
    ],
)
def test_the_tools_mistakes_are_one_line(tmp_path: Path, options: list[str], message: str) -> None:
    command = [sys.executable, "-m", "tools.images", *options, "--raw", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
