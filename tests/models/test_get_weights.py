"""Putting weights and means in place, from a server on loopback and by hand."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import http.server
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.mean import mean_bytes, read_mean, write_mean
from lib.caffe.client import PROJECT
from lib.errors import UserError
from lib.fetch import Client, FetchError, PassingError, Timeouts, download
from models.archives import extract
from models.cards import Card, load_card
from models.compare import check_weights
from models.get import Checks, get
from models.store import MISSING, UNVERIFIED, VERIFIED, missing, require, state, unverified_files
from tests.small_models import CLASSIFIER, SMALL, write_small
from tests.warm_engine import WarmEngine, warm_engine

QUICK = Timeouts(connect=2, stall=0.5, pause=0.01)


@dataclass
class Page:
    """What the server does with one address."""

    content: bytes
    status: int = 200
    kind: str = "application/octet-stream"
    etag: str | None = '"one"'
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)  # after so many bytes, answer by answer
    stalls: list[int] = field(default_factory=list)
    length: bool = True  # say Content-Length
    wrong_range: bool = False  # 206, but of other bytes than asked for
    asked: list[str | None] = field(default_factory=list)  # the Range of each request


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the pages, well or badly."""

    pages: dict[str, Page]

    def do_GET(self) -> None:
        page = self.pages.get(self.path, Page(b"not found", 404, "text/html"))
        wanted = self.headers.get("Range")
        page.asked.append(wanted)
        start = 0
        if wanted and page.ranges and self.headers.get("If-Range") in (None, page.etag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        size = len(page.content)
        if start >= size > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else page.status)
        self.send_header("Content-Type", page.kind)
        if page.etag:
            self.send_header("ETag", page.etag)
        if page.length:
            self.send_header("Content-Length", str(size - start))
        if start:
            first = start + 5 if page.wrong_range else start
            self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        self.end_headers()
        stop = page.stalls.pop(0) if page.stalls else None
        end = page.breaks.pop(0) if page.breaks else size
        self.wfile.write(page.content[start : end if stop is None else stop])
        self.wfile.flush()
        if stop is not None:
            time.sleep(1.5)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass
class Server:
    """The address of a running server, and its pages."""

    address: str
    pages: dict[str, Page]

    def put(self, path: str, page: Page) -> str:
        self.pages[path] = page
        return self.address + path


@pytest.fixture
def server() -> Iterator[Server]:
    pages: dict[str, Page] = {}
    handler = type("Pages", (Handler,), {"pages": pages})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=functools.partial(running.serve_forever, 0.01))
        thread.start()
        yield Server(f"http://127.0.0.1:{running.server_address[1]}", pages)
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def warm(engine_python: Path) -> Iterator[WarmEngine]:
    with warm_engine(engine_python) as running:
        yield running


@pytest.fixture(scope="module")
def model(warm: WarmEngine, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_small(warm, tmp_path_factory.mktemp("model") / "m.caffemodel").read_bytes()


@pytest.fixture(scope="module")
def model_v1(warm: WarmEngine, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_small(warm, tmp_path_factory.mktemp("model") / "m.caffemodel", "V1").read_bytes()


@pytest.fixture(scope="module")
def mean() -> bytes:
    image = np.random.default_rng(1).uniform(90, 140, (3, 256, 256)).astype(np.float32)
    return mean_bytes(image)


@pytest.fixture
def checks(warm: WarmEngine) -> Checks:
    def fit(weights: Path, card: Card) -> None:
        check_weights(warm, weights, card.last_layer, outputs=card.outputs, expected=SMALL)

    return Checks(weights=fit, read_mean=read_mean, write_mean=write_mean)


@dataclass
class Zoo:
    """A folder of cards, and `get` in it."""

    root: Path
    checks: Checks

    def card(self, init: str = "small", **fields: object) -> Card:
        known: dict[str, object] = {
            "name": "Small",
            "caffemodel": "small.caffemodel",
            "license": "none",
            "mean": "small_mean.binaryproto",
            "last_layer": "fc8_small",
            "outputs": "2",
            "source_task": "none",
            "citation": "none",
        }
        text = "\n".join(f"{key}: {json.dumps(value)}" for key, value in (known | fields).items())
        (self.root / init).mkdir(parents=True, exist_ok=True)
        (self.root / init / "readme.md").write_text(f"---\n{text}\n---\n", encoding="utf-8")
        return load_card(init, self.root)

    def get(self, card: Card, **more: Any) -> list[str]:
        said: list[str] = []
        get(card, self.checks, say=said.append, root=self.root, timeouts=QUICK, **more)
        return said

    def refuse(self, card: Card, *words: str, **more: Any) -> str:
        """`get` fails in one line with these words and leaves nothing in place."""
        with pytest.raises(UserError) as caught:
            self.get(card, **more)
        message = str(caught.value)
        for word in words:
            assert word in message
        assert "\n" not in message
        assert not card.weights_path.exists()
        assert sorted(path.name for path in card.folder.iterdir()) == ["readme.md"]
        return message

    def lock(self) -> dict[str, list[dict[str, object]]]:
        held = self.root / "weights.lock"
        return json.loads(held.read_text()) if held.exists() else {}

    def cached(self) -> list[str]:
        return sorted(path.name for path in (self.root / ".cache").iterdir() if path.name != "lock")


@pytest.fixture
def zoo(tmp_path: Path, checks: Checks) -> Zoo:
    return Zoo(tmp_path / "models", checks)


def sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def tar(
    members: dict[str, bytes], *, extra: Callable[[tarfile.TarFile], None] | None = None
) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if extra:
            extra(archive)
    return held.getvalue()


# ---- download


def bring(tmp_path: Path, *urls: str, use: Callable[[bytes], None] = lambda _: None) -> bytes:
    held = []

    def keep(path: Path, url: str) -> None:
        use(path.read_bytes())
        held.append(path.read_bytes())

    download(urls, tmp_path / "file", keep, what="a file", timeouts=QUICK)
    assert list(tmp_path.iterdir()) == []
    return held[0]


CONTENT = np.random.default_rng(0).bytes(3_000_000)


def test_a_download_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    page = Page(CONTENT, breaks=[700_000, 1_900_000])
    assert bring(tmp_path, server.put("/a", page)) == CONTENT
    assert page.asked == [None, "bytes=700000-", "bytes=1900000-"]


def test_a_stalled_connection_is_given_up_and_gone_on_with(server: Server, tmp_path: Path) -> None:
    page = Page(CONTENT, stalls=[1_000_000])
    assert bring(tmp_path, server.put("/a", page)) == CONTENT
    assert page.asked == [None, "bytes=1000000-"]


def test_always_stalled_is_one_clear_error(server: Server, tmp_path: Path) -> None:
    url = server.put("/a", Page(CONTENT, stalls=[1000] * 9, ranges=False))
    with pytest.raises(UserError, match=r"could not get a file: .*/a: the connection stalled"):
        bring(tmp_path, url)


def test_the_next_call_goes_on_too(server: Server, tmp_path: Path) -> None:
    page = Page(CONTENT, breaks=[700_000, 700_001, 700_001, 700_001, 700_001])
    url = server.put("/a", page)
    with pytest.raises(UserError, match="broke off"):
        bring(tmp_path, url)
    page.breaks.clear()
    asked = len(page.asked)
    assert bring(tmp_path, url) == CONTENT
    assert page.asked[asked:] == ["bytes=700001-"]


def test_a_changed_file_begins_anew(server: Server, tmp_path: Path) -> None:
    page = Page(CONTENT, breaks=[700_000] * 5, ranges=False)
    url = server.put("/a", page)
    with pytest.raises(UserError):
        bring(tmp_path, url)
    other = CONTENT[::-1]
    assert bring(tmp_path, server.put("/a", Page(other, etag='"two"'))) == other


@pytest.mark.parametrize(
    "page",
    [
        Page(CONTENT, breaks=[700_000], ranges=False),
        Page(CONTENT, breaks=[700_000], etag=None),
        Page(CONTENT, breaks=[700_000], etag='W/"weak"'),
    ],
    ids=["no ranges", "no etag", "weak etag"],
)
def test_a_server_that_can_not_resume_sends_all_again(
    server: Server, tmp_path: Path, page: Page
) -> None:
    page.asked.clear()
    assert bring(tmp_path, server.put("/a", page)) == CONTENT
    assert len(page.asked) == 2


def test_other_bytes_than_asked_for_are_not_taken(server: Server, tmp_path: Path) -> None:
    url = server.put("/a", Page(CONTENT, breaks=[700_000], wrong_range=True))
    with pytest.raises(UserError, match="asked to go on at byte 700000, the server sent"):
        bring(tmp_path, url)


def test_a_part_that_is_complete_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    """Killed between the last byte and putting it in place."""
    page = Page(CONTENT)
    url = server.put("/a", page)

    def die(path: Path, url: str) -> None:
        os._exit(9)

    child = os.fork()
    if not child:
        download([url], tmp_path / "file", die, what="a file", timeouts=QUICK)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert bring(tmp_path, url) == CONTENT
    assert page.asked == [None, f"bytes={len(CONTENT)}-"]


class Hostile(http.server.BaseHTTPRequestHandler):
    """Answers with the bytes it was made for, whatever is asked; the first call may differ."""

    first = b""
    later = b""
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        with contextlib.suppress(OSError):
            self.wfile.write(self.first if type(self).asked == 1 else self.later)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: %s\r\n\r\nhalf"
HOSTILE = {
    "digits in Content-Range": (
        HALF % b'"one"',
        b"HTTP/1.1 206 x\r\nContent-Range: bytes " + b"9" * 5000 + b"-1/2\r\n\r\n",
    ),
    "digits in Content-Length": (b"HTTP/1.1 200 x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",)
    * 2,
    "an ETag that is not ASCII": (HALF % b'"\xe9\xff"', HALF % b'"\xe9\xff"'),
    "packed three times": (
        b"HTTP/1.1 200 x\r\nContent-Encoding: gzip, gzip, gzip\r\n\r\n" + b"x" * 302,
    )
    * 2,
    "headers without end": (b"HTTP/1.1 200 x\r\n" + b"X-A: b\r\n" * 100_000,) * 2,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_server_is_left_for_the_next_address(
    server: Server, tmp_path: Path, what: str
) -> None:
    first, later = HOSTILE[what]
    handler = type("One", (Hostile,), {"first": first, "later": later})
    good = server.put("/good", Page(CONTENT))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as hostile:
        hostile.daemon_threads = True
        threading.Thread(target=hostile.serve_forever, args=(0.01,), daemon=True).start()
        bad = f"http://127.0.0.1:{hostile.server_address[1]}/bad"
        for _ in range(2):  # a later call is not spoilt by what the first has left
            assert bring(tmp_path, bad, good) == CONTENT
            assert not [path for path in tmp_path.rglob("*") if ".part" in path.name]
        with pytest.raises(UserError) as error:
            bring(tmp_path, bad)
        assert "\n" not in str(error.value)
        hostile.shutdown()


def read_all(client: Client, url: str) -> bytes:
    with client.get(url) as answer:
        return b"".join(answer.pieces())


def test_an_answer_has_an_overall_time(server: Server, tmp_path: Path) -> None:
    """A byte now and then is never silent for long, in the headers and in the body."""

    class Drip(Hostile):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):
                if self.path == "/body":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                for _ in range(200):
                    self.wfile.write(b"x")
                    time.sleep(0.05)

    short = Timeouts(connect=1, stall=0.5, pause=0, total=0.5)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Drip) as drip:
        drip.daemon_threads = True
        threading.Thread(target=drip.serve_forever, args=(0.01,), daemon=True).start()
        for path in ("/body", "/headers"):
            url = f"http://127.0.0.1:{drip.server_address[1]}{path}"
            start = time.monotonic()
            with Client(short) as client, pytest.raises(PassingError, match="not whole after"):
                read_all(client, url)
            assert time.monotonic() - start < 2
        drip.shutdown()


def test_a_body_that_is_packed_once_is_unpacked_within_limits(
    server: Server, tmp_path: Path
) -> None:
    packed = gzip.compress(CONTENT)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    bomb = gzip.compress(bytes(50_000_000))
    later = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + bomb
    handler = type("One", (Hostile,), {"first": head + packed, "later": later})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as packs:
        packs.daemon_threads = True
        threading.Thread(target=packs.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{packs.server_address[1]}/a"
        assert bring(tmp_path, url) == CONTENT
        with Client(largest=1_000_000) as client, pytest.raises(FetchError, match="larger than"):
            read_all(client, url)
        packs.shutdown()


def test_addresses_are_tried_in_order(server: Server, tmp_path: Path) -> None:
    dead = "http://127.0.0.1:9"
    good = server.put("/good", Page(CONTENT))
    gone = server.put("/gone", Page(b"", 503))
    page = server.put("/page", Page(b"<html>moved</html>", kind="text/html; charset=utf-8"))
    assert bring(tmp_path, dead, gone, page, good) == CONTENT
    with pytest.raises(UserError) as caught:
        bring(tmp_path, dead, gone, page, server.address + "/never")
    message = str(caught.value)
    assert f"{dead}: no connection" in message
    assert f"{gone}: HTTP 503" in message
    assert f"{page}: a web page came instead" in message
    assert "/never: HTTP 404" in message
    assert "\n" not in message


def test_bytes_beyond_the_announced_end_are_refused(tmp_path: Path, server: Server) -> None:
    page = Page(CONTENT, breaks=[700_000])
    url = server.put("/a", page)

    def shrink(_: bytes) -> None:
        raise UserError("never complete")

    page.breaks = [700_000] * 9
    with pytest.raises(UserError):
        bring(tmp_path, url, use=shrink)
    page.content, page.breaks = CONTENT[:500_000], []  # smaller now, under the same ETag
    assert bring(tmp_path, url) == CONTENT[:500_000]


# ---- archives


def bad(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Callable[..., None]:
    def add(archive: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        archive.addfile(info)

    return add


def test_one_file_is_taken_out(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tar({"deep/readme": b"no", "deep/old": b"old", "deep/new": b"new"}))
    (tmp_path / "out").mkdir()
    assert extract(archive, ["new", "old"], tmp_path / "out").read_bytes() == b"new"
    assert extract(archive, ["newer", "old"], tmp_path / "out").read_bytes() == b"old"
    with pytest.raises(UserError, match="holds no newest; it holds new, old, readme"):
        extract(archive, ["newest"], tmp_path / "out")


@pytest.mark.parametrize(
    "extra",
    [
        bad("/etc/passwd"),
        bad("../escaped"),
        bad("a/../../escaped"),
        bad("link", tarfile.SYMTYPE, "/etc/passwd"),
        bad("a/link", tarfile.SYMTYPE, "../../escaped"),
        bad("link", tarfile.LNKTYPE, "../escaped"),
        bad("device", tarfile.CHRTYPE),
        bad("pipe", tarfile.FIFOTYPE),
    ],
)
def test_nothing_but_the_wanted_member_is_written(
    tmp_path: Path, extra: Callable[..., None]
) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tar({"wanted": b"fine"}, extra=extra))
    (tmp_path / "out").mkdir()
    assert extract(archive, ["wanted"], tmp_path / "out").read_bytes() == b"fine"
    assert sorted(tmp_path.rglob("*")) == [archive, tmp_path / "out", tmp_path / "out" / "wanted"]


def test_a_link_of_the_wanted_name_is_no_file(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tar({"other": b"x"}, extra=bad("wanted", tarfile.SYMTYPE, "other")))
    with pytest.raises(UserError, match="holds no wanted"):
        extract(archive, ["wanted"], tmp_path)


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tar({"large": bytes(5_000_000), "wanted": b"fine"}))
    assert archive.stat().st_size < 10_000
    with pytest.raises(UserError, match=r"unpacks to more than 1\.0 MB"):
        extract(archive, ["wanted"], tmp_path, most_bytes=1_000_000)
    header = tarfile.TarInfo("pax")  # a header that claims to be a terabyte long
    header.type, header.size = tarfile.XHDTYPE, 2**40
    archive.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(10_240)))
    with pytest.raises(UserError, match="forged header"):
        extract(archive, ["wanted"], tmp_path)


@pytest.mark.parametrize("part", [0.2, 0.9, 0.999])
def test_a_truncated_archive(tmp_path: Path, part: float) -> None:
    whole = tar({"large": np.random.default_rng(2).bytes(50_000), "wanted": b"fine"})
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(UserError, match=r"a\.tar\.gz (is cut short|is no whole)"):
        extract(archive, ["wanted"], tmp_path)


# ---- into place


def test_files_with_a_published_checksum(
    zoo: Zoo, server: Server, model: bytes, mean: bytes
) -> None:
    card = zoo.card(
        caffemodel_url=server.put("/m.caffemodel", Page(model)),
        mean_url=server.put("/mean.binaryproto", Page(mean)),
        sha1=["0" * 40, sha1(model)],
    )
    assert state("small", zoo.root).status == MISSING
    assert missing("small", zoo.root) == [str(card.weights_path), str(card.mean_path)]
    assert "make weights INIT=small" in str(state("small", zoo.root))
    with pytest.raises(UserError, match="make weights INIT=small"):
        require("small", zoo.root)

    said = zoo.get(card)
    assert said[0] == f"wrote {card.weights_path}: sha1 {sha1(model)}, as published"
    assert "first seen, unverified: recorded in" in said[1]
    assert card.weights_path.read_bytes() == model
    assert card.mean_path.read_bytes() == mean
    assert zoo.cached() == []
    assert str(state("small", zoo.root)) == VERIFIED
    assert require("small", zoo.root) == (card.weights_path, card.mean_path)
    assert list(zoo.lock()) == ["small/small_mean.binaryproto"]
    assert all(line.startswith("up to date") for line in zoo.get(card))


def test_from_one_archive_in_v1_form(
    zoo: Zoo, server: Server, model_v1: bytes, mean: bytes
) -> None:
    page = Page(tar({"net/old.caffemodel": model_v1, "net/m.binaryproto": mean}), breaks=[1000])
    url = server.put("/net.tar.gz", page)
    card = zoo.card(
        caffemodel_url=["http://127.0.0.1:9/x.tar.gz", url],
        caffemodel_member=["small.caffemodel", "old.caffemodel"],
        mean_url=["http://127.0.0.1:9/x.tar.gz", url],
        mean_member="m.binaryproto",
    )
    assert len(zoo.get(card)) == 2
    assert len(page.asked) == 2  # one download, broken off once, gives both files
    assert card.weights_path.read_bytes() == model_v1
    assert card.mean_path.read_bytes() == mean
    (record,) = zoo.lock()["small/small.caffemodel"]
    assert record["name"] == "old.caffemodel"
    assert record["source"] == url
    assert str(state("small", zoo.root)) == VERIFIED


def test_the_first_one_seen_is_enforced(
    zoo: Zoo, warm: WarmEngine, server: Server, model: bytes, mean: bytes, tmp_path: Path
) -> None:
    url = server.put("/small.caffemodel", Page(model))
    card = zoo.card(caffemodel_url=url, mean_url=server.put("/m.binaryproto", Page(mean)))
    zoo.get(card)
    other = write_small(warm, tmp_path / "o.caffemodel", "V2", SMALL | {"fc8_small": ((2, 5),)})
    card.weights_path.unlink()
    card.mean_path.unlink()
    server.put("/small.caffemodel", Page(other.read_bytes(), etag='"other"'))
    zoo.refuse(card, f"{url}: small.caffemodel: its sha256 is", "the one first seen on", url)
    by_hand = tmp_path / "small.caffemodel"
    other.rename(by_hand)
    zoo.refuse(card, f"{by_hand}: its sha256 is", "the one first seen on", file=by_hand)
    server.put("/small.caffemodel", Page(model))
    zoo.get(card)
    assert card.weights_path.read_bytes() == model


@pytest.mark.parametrize("published", [True, False])
def test_what_comes_instead_of_a_model(
    zoo: Zoo, server: Server, model: bytes, mean: bytes, published: bool
) -> None:
    def card(url: str) -> Card:
        known = {"sha1": sha1(model)} if published else {}
        return zoo.card(caffemodel_url=url, mean_url=url, **known)

    page = b"<!DOCTYPE html><html>The file has moved</html>"
    zoo.refuse(card(server.put("/html.caffemodel", Page(page, kind="text/html"))), "a web page")
    zoo.refuse(card(server.put("/page.caffemodel", Page(page))), "page.caffemodel", "a web page")
    cut = card(server.put("/cut.caffemodel", Page(model[:-60], length=False)))
    zoo.refuse(cut, "cut short" if published else "truncated: it ends inside layer 'fc8_small'")
    short = card(server.put("/short.caffemodel", Page(model, breaks=[900] * 9)))
    zoo.refuse(short, "broke off after")
    assert "FILE=/path/to/it" in zoo.refuse(card(server.address + "/none"), "HTTP 404")
    other = card(server.put("/other.caffemodel", Page(mean)))
    zoo.refuse(other, "not the published" if published else "is no .caffemodel")
    assert zoo.lock() == {}


def test_a_bad_file_at_the_first_address(
    zoo: Zoo, server: Server, model: bytes, mean: bytes
) -> None:
    card = zoo.card(
        sha1=sha1(model),
        caffemodel_url=[
            server.put("/bad.caffemodel", Page(model[:-1] + b"x")),
            server.put("/good.caffemodel", Page(model)),
        ],
        mean_url=[
            server.put("/bad.binaryproto", Page(mean[:-1])),
            server.put("/good.binaryproto", Page(mean)),
        ],
    )
    zoo.get(card)
    assert card.weights_path.read_bytes() == model
    assert card.mean_path.read_bytes() == mean
    assert zoo.cached() == []


def test_by_hand(zoo: Zoo, model: bytes, mean: bytes, tmp_path: Path) -> None:
    card = zoo.card(sha1=sha1(model), mean_member="m.binaryproto")
    zoo.refuse(card, "the card of small has no address for small.caffemodel", "FILE=")
    file = tmp_path / "my file é.caffemodel"
    zoo.refuse(card, f"no file {file}", file=file)
    file.write_bytes(model[:-1])
    zoo.refuse(card, f"the sha1 of {file} is", "not the published", file=file)
    file.write_bytes(model)
    given = tmp_path / "given.binaryproto"
    given.write_bytes(mean)
    zoo.get(card, file=file, mean=given)
    assert card.weights_path.read_bytes() == model
    assert str(state("small", zoo.root)) == VERIFIED
    assert file.read_bytes() == model

    archive = tmp_path / "given.tar.gz"
    archive.write_bytes(tar({"x/small.caffemodel": model, "x/m.binaryproto": mean}))
    card.weights_path.unlink()
    card.mean_path.unlink()
    assert len(zoo.get(card, file=archive)) == 2
    assert card.mean_path.read_bytes() == mean


def test_by_hand_without_a_published_checksum(
    zoo: Zoo, warm: WarmEngine, model: bytes, mean: bytes, tmp_path: Path
) -> None:
    card = zoo.card(mean_value=["104", "117", "123"])
    wrong = write_small(
        warm, tmp_path / "wrong.caffemodel", "V1", {**SMALL, "fc6": ((5, 25), (5,)), **CLASSIFIER}
    )
    message = zoo.refuse(card, f"{wrong} does not fit CaffeNet: layer 'fc6'", "5x25", file=wrong)
    assert ".cache" not in message
    wrong.write_bytes(model[:500])
    zoo.refuse(card, f"{wrong} is truncated", file=wrong)
    wrong.write_bytes(model)
    zoo.get(card, file=wrong)
    np.testing.assert_array_equal(
        read_mean(card.mean_path), np.broadcast_to([[[104]], [[117]], [[123]]], (3, 256, 256))
    )


def test_dropped_into_the_folder(zoo: Zoo, model: bytes, mean: bytes) -> None:
    """Without `make weights`: it is there, but nobody has looked at it."""
    card = zoo.card(mean_value=["104", "117", "123"])
    card.weights_path.write_bytes(model)
    card.mean_path.write_bytes(mean)
    assert state("small", zoo.root).status == UNVERIFIED
    assert "no checksum" in str(state("small", zoo.root))
    zoo.get(card)
    assert state("small", zoo.root).status == VERIFIED
    card.weights_path.write_bytes(model[:-1])
    found = state("small", zoo.root)
    assert found.status == UNVERIFIED
    assert f"rm {card.weights_path}" in str(found)
    with pytest.raises(UserError, match="not the one first seen"):
        require("small", zoo.root)
    with pytest.raises(UserError, match="not the one first seen"):
        zoo.get(card)


def test_leftovers_of_killed_calls_are_removed(zoo: Zoo, model: bytes, tmp_path: Path) -> None:
    card = zoo.card(mean_value=["104", "117", "123"], sha1=sha1(model))
    unpacked = zoo.root / ".cache" / "unpacked.x"
    unpacked.mkdir(parents=True)
    (unpacked / "large").write_bytes(b"half")
    half = card.folder / ".small.caffemodel.123.part"
    half.write_bytes(b"half")
    other = card.folder / ".mine.123.part"
    other.write_bytes(b"somebody's own")
    card.weights_path.write_bytes(model)
    zoo.get(card)
    assert zoo.cached() == []
    assert not half.exists()
    assert other.exists()


def test_plain_http_without_a_checksum_is_said_recorded_and_can_be_refused(
    server: Server, zoo: Zoo, model: bytes, mean: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = server.put("/small.caffemodel", Page(model))
    means = server.put("/small_mean.binaryproto", Page(mean))
    card = zoo.card(caffemodel_url=weights, mean_url=means)
    secure = weights.replace("http://", "https://")
    message = zoo.refuse(card, f"{secure}: no connection", require_verified=True)
    assert f"; {weights}" not in message
    zoo.get(card)
    warned = [one for one in capsys.readouterr().err.split("\n") if one.startswith("warning: ")]
    assert len(warned) == 2
    assert "recorded as unverified" in warned[0]
    held = zoo.lock()
    assert held["small/small.caffemodel"][0]["unverified"] is True
    assert unverified_files("small", zoo.root) == [str(card.weights_path), str(card.mean_path)]
    # a lock of before does not say; where the file came from tells
    for records in held.values():
        del records[0]["unverified"]
    (zoo.root / "weights.lock").write_text(json.dumps(held))
    assert unverified_files("small", zoo.root) == [str(card.weights_path), str(card.mean_path)]
    # with the lock the checksum is known: plain http may bring the file again
    card.weights_path.unlink()
    zoo.get(card, require_verified=True)
    assert card.weights_path.read_bytes() == model
    assert "unverified" not in capsys.readouterr().err


def test_a_published_checksum_makes_plain_http_as_good(
    server: Server, zoo: Zoo, model: bytes, mean: bytes, tmp_path: Path
) -> None:
    url = server.put("/small.caffemodel", Page(model))
    own = tmp_path / "mean.binaryproto"
    own.write_bytes(mean)
    card = zoo.card(caffemodel_url=url, sha1=sha1(model))
    zoo.get(card, mean=own, require_verified=True)
    assert unverified_files("small", zoo.root) == []


def test_a_broken_lock_is_named(zoo: Zoo, model: bytes, tmp_path: Path) -> None:
    card = zoo.card(mean_value=["104", "117", "123"])
    card.weights_path.write_bytes(model)
    (zoo.root / "weights.lock").write_text("<<<<<<< HEAD\n")
    with pytest.raises(UserError, match=r"weights\.lock is broken"):
        zoo.get(card)


# ---- means


def test_a_mean_in_npy_form_is_converted(
    zoo: Zoo, server: Server, model: bytes, tmp_path: Path
) -> None:
    image = np.random.default_rng(3).uniform(90, 140, (3, 256, 256))
    held = io.BytesIO()
    np.save(held, image)
    card = zoo.card(
        sha1=sha1(model),
        caffemodel_url=server.put("/m.caffemodel", Page(model)),
        mean_url=server.put("/some/ilsvrc_2012_mean.npy", Page(held.getvalue())),
    )
    zoo.get(card)
    np.testing.assert_array_equal(read_mean(card.mean_path), image.astype(np.float32))
    assert zoo.lock()["small/small_mean.binaryproto"][0]["name"] == "ilsvrc_2012_mean.npy"


def test_caffe_reads_the_converted_mean(
    zoo: Zoo, warm: WarmEngine, model: bytes, tmp_path: Path
) -> None:
    card = zoo.card(sha1=sha1(model))
    card.weights_path.write_bytes(model)
    given = tmp_path / "mean.npy"
    np.save(given, np.array([104.007, 116.669, 122.679]))
    zoo.get(card, mean=given)
    code = """
import sys, caffe, numpy
from caffe.proto import caffe_pb2
blob = caffe_pb2.BlobProto.FromString(open(sys.argv[1], "rb").read())
numpy.save(sys.argv[2], caffe.io.blobproto_to_array(blob))
"""
    warm.run(code, card.mean_path, tmp_path / "seen.npy")
    seen = np.load(tmp_path / "seen.npy")
    assert seen.shape == (1, 3, 256, 256)
    expected = np.array([104.007, 116.669, 122.679], np.float32)
    np.testing.assert_array_equal(seen[0, :, 17, 200], expected)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((3, 227, 227), 100.0), "3 x 227 x 227"),
        (np.full((256, 256, 3), 100.0), "256 x 256 x 3"),
        (np.full((3, 256, 256), 0.4), "values from 0.4 to 0.4"),
        (np.full((3, 256, 256), -120.0), "values from -120"),
        (np.full((3, 256, 256), np.nan), "NaN"),
        (np.full(4, 100.0), "numbers"),
    ],
)
def test_a_mean_that_can_not_be_one(
    zoo: Zoo, model: bytes, tmp_path: Path, array: np.ndarray, words: str
) -> None:
    card = zoo.card(sha1=sha1(model))
    given = tmp_path / "mean.npy"
    np.save(given, array)
    zoo.refuse(card, str(given), words, mean=given)


def test_inits_with_the_same_mean_download_it_once(
    zoo: Zoo, server: Server, model: bytes, mean: bytes
) -> None:
    page = Page(tar({"imagenet_mean.binaryproto": mean, "train.txt": b"x"}))
    shared = {
        "mean_url": [server.put("/aux.tar.gz", page)],
        "mean_member": "imagenet_mean.binaryproto",
        "caffemodel_url": server.put("/m.caffemodel", Page(model)),
        "sha1": sha1(model),
    }
    for init in ("one", "two"):
        card = zoo.card(init, **shared)
        zoo.get(card)
        assert card.mean_path.read_bytes() == mean
        assert str(state(init, zoo.root)) == VERIFIED
    assert len(page.asked) == 1


# ---- the tool


def tool(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.weights", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=os.environ | more,
    )


def test_the_tools_errors_are_one_line_each(zoo: Zoo, tmp_path: Path) -> None:
    zoo.card("one", caffemodel_url="http://127.0.0.1:9/one")
    zoo.card("two", caffemodel_url="http://127.0.0.1:9/two")
    done = tool("--models", zoo.root)
    assert done.returncode == 2
    (error,) = done.stderr.splitlines()
    assert error.startswith("error: one: could not get small.caffemodel: https://127.0.0.1:9/one: ")
    assert "two: could not get small.caffemodel: " in error
    done = tool("--models", zoo.root, "--init", "tow")
    assert done.stderr == "error: unknown init 'tow': did you mean two? valid: one, two\n"
    done = tool("--models", zoo.root, "--file", "x")
    assert done.stderr == "error: say whose file it is: --init\n"
    done = tool("--models", zoo.root, CAFFE_PYTHON=str(tmp_path))
    assert "CAFFE_PYTHON" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.caffenet
def test_killed_and_called_again_with_a_full_caffenet(
    zoo: Zoo, server: Server, mean: bytes, warm: WarmEngine, tmp_path: Path
) -> None:
    """All of it as a user has it: 230 MB, kill -9 in the middle, real Caffe, no half file."""
    from models.compare import CAFFENET

    full = write_small(
        warm, tmp_path / "full.caffemodel", "V1", CAFFENET | {"fc8": ((7, 4096), (7,))}
    )
    content = full.read_bytes()
    page = Page(content, stalls=[100_000_000])
    card = zoo.card(
        caffemodel_url=server.put("/full.caffemodel", page),
        mean_url=server.put("/mean.binaryproto", Page(mean)),
        sha1=sha1(content),
        last_layer="fc8",
        outputs="7",
    )
    command = [sys.executable, "-m", "tools.weights", "--init", "small", "--models"]
    with subprocess.Popen([*command, str(zoo.root)], cwd=PROJECT) as running:
        until = time.monotonic() + 60
        while not any(part.stat().st_size > 50e6 for part in zoo.root.glob(".cache/*.part")):
            assert time.monotonic() < until
            time.sleep(0.05)
        running.send_signal(signal.SIGKILL)
    assert not card.weights_path.exists()
    done = tool("--init", "small", "--models", zoo.root)
    assert done.returncode == 0, done.stderr
    assert "as published" in done.stdout
    assert page.asked[1] is not None
    assert card.weights_path.read_bytes() == content
    assert str(state("small", zoo.root)) == VERIFIED
    assert tool("--init", "small", "--models", zoo.root).stdout.count("up to date") == 2
