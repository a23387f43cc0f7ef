"""Hostile clients of the search page: how many tries, and that each of them ends well."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import socket
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from experiments.similarity.page.guard import allowed_names
from experiments.similarity.page.uploads import FORMATS
from lib.caffe.client import Engine
from tests.served_page import Served, jpeg, start, stop
from tests.similar_world import RUNS, TASK, image_name

pytestmark = pytest.mark.slow

MODEL = f"{TASK}/{RUNS[0]}"


def address(page: Served) -> tuple[str, int]:
    host, port = page.url.removeprefix("http://").split(":")
    return host, int(port)


def still_answers(page: Served, within: float = 15) -> None:
    began = time.monotonic()
    assert page.get("/api/search", image=image_name(2)).status_code == 200
    assert page.send(jpeg()).status_code == 200
    assert time.monotonic() - began < within


def picture(kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)).save(
        out, kind
    )
    return out.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_the_six_formats_are_taken(page: Served, kind: str) -> None:
    answer = page.send(picture(kind))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "kind", ["PCX", "EPS", "TGA", "PPM", "ICNS", "SGI", "JPEG2000", "IM", "PDF"]
)
def test_no_other_format_is_even_opened(page: Served, kind: str) -> None:
    answer = page.send(picture(kind))
    assert answer.status_code == 415
    assert answer.json()["error"].endswith("JPEG, PNG, WebP, GIF, TIFF or BMP")


def chunks(count: int) -> bytes:
    """A PNG of very many empty chunks before its pixels."""

    def chunk(kind: bytes, data: bytes = b"") -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 0, 0, 0, 0))
    return head + chunk(b"teSt") * count + chunk(b"IDAT", zlib.compress(bytes(90))) + chunk(b"IEND")


def scans(count: int) -> bytes:
    """A progressive JPEG whose scans are repeated."""
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
    Image.fromarray(noise).save(out, "JPEG", progressive=True, quality=20)
    data = out.getvalue()
    start_of_last = data.rindex(b"\xff\xda")
    last = data[start_of_last:-2]
    more = min(count, (19_000_000 - len(data)) // len(last))
    return data[:-2] + last * more + b"\xff\xd9"


def test_images_that_take_long_hold_nobody_up(page: Served) -> None:
    """The child that decodes has 8 s of processor time for each; others are answered meanwhile."""
    images = [chunks(1_500_000), scans(4000), chunks(1_500_000)]
    with ThreadPoolExecutor(len(images)) as pool:
        answers = [pool.submit(page.send, data) for data in images]
        time.sleep(1)
        began = time.monotonic()
        assert page.get("/api/search", image=image_name(3)).status_code == 200
        assert time.monotonic() - began < 5
        statuses = [each.result().status_code for each in answers]
    assert set(statuses) <= {200, 415, 422}
    still_answers(page, 30)


def test_idle_connections_take_nobodys_place(page: Served) -> None:
    """450 that say nothing, and 100 that never end their headers."""
    open_ones = []
    for number in range(550):
        each = socket.create_connection(address(page))
        if number >= 450:
            each.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        open_ones.append(each)
    still_answers(page)
    open_ones[-1].settimeout(20)
    assert open_ones[-1].recv(10) == b""  # closed by the server after 10 s
    for each in open_ones:
        each.close()


def test_headers_without_end_are_refused(page: Served) -> None:
    with socket.create_connection(address(page)) as one:
        one.settimeout(20)
        with contextlib.suppress(OSError):
            one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000)
            assert one.recv(100).startswith(b"HTTP/1.1 4")
    still_answers(page)


def test_many_large_uploads_fit_into_the_memory(folder: Path, engine: Engine) -> None:
    """60 senders of 20 MB at once: only those with a place in the queue are read."""
    served = start(folder, engine, "--queue", "4")
    try:
        with ThreadPoolExecutor(60) as pool:
            answers = [pool.submit(_large, served) for _ in range(60)]
            most = 0
            while not all(each.done() for each in answers):
                most = max(most, _memory(served.process.pid))
                time.sleep(0.05)
            statuses = [each.result() for each in answers]
        assert set(statuses) <= {415, 422, 503, 0}
        assert statuses.count(503) + statuses.count(0) >= 40
        assert most < 800_000_000
        still_answers(served)
    finally:
        stop(served)


def _large(served: Served) -> int:
    try:
        return served.send(b"\xff\xd8\xff" + bytes(19_900_000)).status_code
    except httpx.TransportError:  # refused before all was sent
        return 0


def _memory(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def test_the_same_picture_at_once(page: Served) -> None:
    data = jpeg(900)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(page.send, [data] * 6))
    assert [each.status_code for each in answers] == [200] * 6
    assert len({each.json()["token"] for each in answers}) == 1


# ---- Other sites ----


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "https://127.0.0.1:1"},
        {"Origin": "null"},
        {"Origin": "file://"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/api/upload", f"/api/explain?model={MODEL}&image=1001.jpg"])
def test_other_sites_run_nothing(page: Served, path: str, headers: dict[str, str]) -> None:
    answer = httpx.post(page.url + path, content=jpeg(), headers=headers)
    assert answer.status_code == 403


def test_the_page_itself_may(page: Served) -> None:
    headers = {"Origin": page.url, "Sec-Fetch-Site": "same-origin"}
    assert httpx.post(f"{page.url}/api/upload", content=jpeg(), headers=headers).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "", "127.0.0.1.evil.example:80", "[::2]", "a b"],
)
def test_other_names_read_nothing(page: Served, host: str) -> None:
    answer = httpx.get(f"{page.url}/api/gallery", headers={"Host": host})
    assert answer.status_code == 400
    assert "collection" not in answer.text


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:5", "[::1]", "[::1]:8765"]
)
def test_own_names_are_answered(page: Served, host: str) -> None:
    assert httpx.get(f"{page.url}/api/gallery", headers={"Host": host}).status_code == 200


def test_on_all_addresses_only_own_names_are_answered(folder: Path, engine: Engine) -> None:
    assert "evil.example" not in allowed_names("0.0.0.0")
    assert {"localhost", "127.0.0.1", socket.gethostname().lower()} <= set(allowed_names("0.0.0.0"))
    assert allowed_names("page.example") == ["127.0.0.1", "::1", "localhost", "page.example"]


def test_get_runs_no_engine(page: Served) -> None:
    assert page.get("/api/explain", model=MODEL, image=image_name(1)).status_code == 405
    assert page.get("/api/upload").status_code == 405


# ---- The end ----


def test_a_killed_server_leaves_no_child(folder: Path, engine: Engine) -> None:
    served = start(folder, engine)
    group = served.process.pid
    answers = [threading.Thread(target=_quietly, args=(served, scans(4000))) for _ in range(2)]
    for each in answers:
        each.start()
    time.sleep(1)
    os.kill(served.process.pid, signal.SIGKILL)
    served.process.wait()
    for each in answers:
        each.join()
    until = time.monotonic() + 15
    while (left := _group(group)) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []


def _quietly(served: Served, data: bytes) -> None:
    with contextlib.suppress(httpx.TransportError):
        served.send(data)


def _group(group: int) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = path.read_text()
            state, _, of_group = text.rpartition(")")[2].split()[:3]
            if int(of_group) == group and state != "Z":
                found.append(text)
    return found
