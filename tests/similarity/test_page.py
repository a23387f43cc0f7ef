"""The search page: real server, real Caffe, real Chromium; bad uploads in numbers."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from experiments.similarity.page.uploads import MAX_BYTES
from lib.caffe.client import Engine
from tests.browser import Browser, chromium
from tests.served_page import Served, jpeg, start, stop
from tests.similar_world import EVIL, RUNS, TASK, SimilarWorld, image_name
from tests.small_world import PROJECT

FIRST, SECOND = (f"{TASK}/{name}" for name in RUNS)
COUNT = 27


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that promises width x height pixels."""
    out = io.BytesIO()
    Image.new("L", (1, 1)).save(out, "PNG")
    data = bytearray(out.getvalue())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


# ---- Searching ----


def test_an_indexed_image(page: Served) -> None:
    said = page.get("/api/search", image=image_name(1), k=5).json()
    assert said["query"]["title"] == EVIL
    assert [each["model"] for each in said["results"]] == [FIRST, SECOND]
    for each in said["results"]:
        far = [card["distance"] for card in each["images"]]
        assert far == sorted(far)
        assert len(far) == 5
        assert 1 not in [card["row"] for card in each["images"]]  # itself is no answer
    one = page.get("/api/search", image=image_name(1), k=5, models=SECOND).json()["results"]
    assert one == said["results"][1:]


def test_filters(page: Served) -> None:
    said = page.get("/api/search", image=image_name(1), k=50, filter="artist:Judith Leyster").json()
    for each in said["results"]:
        assert len(each["images"]) == 9
        assert {card["artist"] for card in each["images"]} == {"Judith Leyster"}
    none = page.get("/api/search", image=image_name(1), filter="artist:Nobody").json()
    assert [each["images"] for each in none["results"]] == [[], []]
    found = page.get("/api/pick", text="morisot 7", n=50).json()
    assert found["total"] == len(found["images"])
    assert {card["artist"] for card in found["images"]} == {"Berthe Morisot"}
    filters = page.get("/api/gallery").json()["filters"]
    assert dict(filters["artist"]) == {"Judith Leyster": 9, "Berthe Morisot": 9, "Sofonisba": 9}
    assert dict(filters["part"]) == {"train": 14, "val": 4, "test": 9}
    assert "title" not in filters
    assert page.get("/api/pick", filter="colour:red").status_code == 422
    assert page.get("/api/pick", filter="red").status_code == 422


def test_an_upload_finds_its_own_image(page: Served) -> None:
    original = (page.folder / "datasets/raw/met/images" / image_name(5)).read_bytes()
    for answer in (
        page.send(original),
        httpx.post(f"{page.url}/api/upload", files={"file": ("x.jpg", original)}, timeout=60),
    ):
        token = answer.json()["token"]
        said = page.get("/api/search", upload=token, k=3).json()
        for each in said["results"]:
            assert each["images"][0]["row"] == 5
            assert each["images"][0]["distance"] < 1e-3
    assert Image.open(io.BytesIO(page.get(f"/upload/{token}").content)).size == (80, 60)


def test_thumbnails_are_made_on_demand_and_kept(page: Served) -> None:
    kept = page.folder / ".cache/page"
    before = set(kept.rglob("9-large.jpg"))
    answer = page.get("/thumb/9", size="large")
    assert answer.headers["content-type"] == "image/jpeg"
    assert "max-age" in answer.headers["cache-control"]
    assert not before
    assert [path.read_bytes() for path in kept.rglob("9-large.jpg")] == [answer.content]


def test_test_images_by_class(page: Served) -> None:
    said = page.get("/api/confusion", model=FIRST).json()
    assert said["classes"] == ["Dutch", "French", "Italian"]
    counts = np.array(said["counts"])
    assert counts.sum() == 9
    assert counts[2, 1] > 0
    cell = page.get("/api/cell", model=FIRST, true="Italian", predicted="French").json()
    assert cell["total"] == counts[2, 1]
    assert {card["class"] for card in cell["images"]} == {"Italian"}


def test_why(page: Served) -> None:
    said = page.post("/api/explain", model=FIRST, image=image_name(20)).json()
    assert len(said["classes"]) == 3
    assert sum(each["probability"] for each in said["classes"]) == pytest.approx(1, abs=1e-4)
    assert said["layer"] == "conv5"
    assert said["explained"] == said["classes"][0]["name"]
    assert len({said["seen"], said["activation"], said["saliency"]}) == 3
    assert {card["part"] for card in said["nearest"]} == {"train"}
    other = page.post("/api/explain", model=FIRST, image=image_name(20), label="Italian").json()
    assert other["explained"] == "Italian"
    assert (
        page.post("/api/explain", model=FIRST, image=image_name(20), label="Greek").status_code
        == 422
    )


# ---- What must not be ----


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/thumb/27", 404),
        ("/thumb/-1", 404),
        ("/thumb/0?size=huge", 404),
        ("/thumb/..%2f..%2fetc%2fpasswd", 404),
        ("/upload/..%2f..%2f..%2fdatasets", 404),
        ("/upload/" + "a" * 32, 404),
        ("/static/..%2fapp.py", 404),
        ("/static/../../base/errors.py", 404),
        ("/api/search", 422),
        ("/api/search?image=1001.jpg&upload=x", 422),
        ("/api/search?image=1", 404),
        ("/api/search?image=../../../etc/passwd", 404),
        ("/api/search?image=1001.jpg&k=0", 422),
        ("/api/search?image=1001.jpg&k=100000", 422),
        ("/api/search?image=1001.jpg&models=../../etc", 404),
        ("/api/search?upload=../../etc/passwd", 404),
        ("/api/explain?image=1001.jpg&model=first", 405),
        ("/api/confusion?model=../x", 404),
        ("/docs", 404),
        ("/openapi.json", 404),
    ],
)
def test_no_path_reaches_the_disk(page: Served, path: str, status: int) -> None:
    answer = httpx.get(page.url + path)
    assert answer.status_code == status
    assert "Traceback" not in answer.text


def bad_uploads() -> list[tuple[str, bytes, int]]:
    good = jpeg()
    random = np.random.default_rng(0)
    pcx, eps = io.BytesIO(), io.BytesIO()
    Image.new("P", (9, 9)).save(pcx, "PCX")
    Image.new("RGB", (9, 9)).save(eps, "EPS")
    cases = [
        ("nothing", b"", 400),
        ("text", b"hello", 415),
        ("html", b"<html><script>alert(1)</script></html>", 415),
        ("svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        ("a program", b"\x7fELF" + bytes(500), 415),
        ("zip", b"PK\x03\x04" + bytes(500), 415),
        ("pcx", pcx.getvalue(), 415),
        ("eps", eps.getvalue(), 415),
        ("a large eps", eps.getvalue() + bytes(16_000_000), 415),
        ("zeros", bytes(1000), 415),
        ("too many bytes", good + bytes(MAX_BYTES), 413),
        ("a bomb", bomb(50_000, 50_000), 413),
        ("a long bomb", bomb(1_000_000, 1), 413),
        ("a bomb within the limits", bomb(7_000, 7_000), 422),
        ("half a jpeg", good[: len(good) // 2], 422),
        ("a jpeg's head", good[:200], 415),
    ]
    cases += [(f"noise {n}", random.bytes(300), 415) for n in range(40)]
    return cases


def test_bad_uploads_get_a_clear_4xx(page: Served) -> None:
    for name, data, status in bad_uploads():
        answer = page.send(data)
        assert answer.status_code == status, (name, answer.text)
        assert answer.json()["error"], name
    # Damaged in the middle: whatever it is, it is no fault of the server's.
    random = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(jpeg())
        for place in random.integers(0, len(damaged), 6):
            damaged[place] = random.integers(0, 256)
        assert page.send(bytes(damaged)).status_code in (200, 413, 415, 422)
    assert page.send(jpeg()).status_code == 200


def test_a_page_from_elsewhere_may_neither_send_nor_ask(page: Served) -> None:
    cross = httpx.post(
        f"{page.url}/api/upload", content=jpeg(), headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert cross.status_code == 403
    rebound = httpx.get(f"{page.url}/api/gallery", headers={"Host": "evil.example"})
    assert rebound.status_code == 400


def test_headers_forbid_what_comes_from_elsewhere(page: Served) -> None:
    answer = page.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?://", answer.text)
    for name in ("page.js", "page.css"):
        assert not re.search(r"https?://", page.get(f"/static/{name}").text)


def test_it_listens_on_loopback_alone(page: Served) -> None:
    port = int(page.url.rpartition(":")[2])
    listening = [
        line.split()[1].rpartition(":")[0]
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].rpartition(":")[2], 16) == port
    ]
    assert listening == ["0100007F"]


# ---- Many, slow, dying ----


def test_a_full_queue_says_when_to_come_again(folder: Path, engine: Engine) -> None:
    served = start(folder, engine, "--queue", "2")
    try:
        worker = served.worker()
        os.kill(worker, signal.SIGSTOP)  # an engine that takes its time
        images = [jpeg(600 + n) for n in range(5)]
        with ThreadPoolExecutor(5) as pool:
            answers = [pool.submit(served.send, data) for data in images]
            until = time.monotonic() + 30
            while sum(each.done() for each in answers) < 3 and time.monotonic() < until:
                time.sleep(0.05)
            began = time.monotonic()
            assert served.get("/api/search", image=image_name(3)).status_code == 200  # others go on
            assert time.monotonic() - began < 5
            os.kill(worker, signal.SIGCONT)
            statuses = sorted(each.result().status_code for each in answers)
            refused = [e.result() for e in answers if e.result().status_code == 503]
        assert statuses == [200, 200, 503, 503, 503]
        assert all(int(each.headers["retry-after"]) >= 1 for each in refused)
        assert served.send(images[0]).status_code == 200
    finally:
        stop(served)


def test_the_engine_dying_is_noticed_and_mended(page: Served) -> None:
    worker = page.worker()
    os.kill(worker, signal.SIGKILL)
    assert page.send(jpeg(700)).status_code == 200
    assert page.worker() != worker
    stopped = page.worker()
    os.kill(stopped, signal.SIGSTOP)
    killer = threading.Timer(1, os.kill, (stopped, signal.SIGKILL))
    killer.start()
    assert page.send(jpeg(701)).status_code == 200  # it died under the very request
    killer.join()


def test_slow_clients_block_nobody(page: Served) -> None:
    host, port = page.url.removeprefix("http://").split(":")
    slow = []
    for _ in range(50):
        each = socket.create_connection((host, int(port)))
        each.sendall(
            b"POST /api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx"
        )
        slow.append(each)
    began = time.monotonic()
    assert page.get("/api/search", image=image_name(2)).status_code == 200
    assert page.send(jpeg()).status_code == 200
    assert time.monotonic() - began < 15
    for each in slow:
        each.close()


@pytest.mark.parametrize("busy", ["nothing", "Caffe", "a slow sender"])
def test_ctrl_c_ends_it_in_one_line(
    folder: Path, engine: Engine, tmp_path: Path, busy: str
) -> None:
    """As the terminal sends it: to the page, its decoder and multiprocessing's own process."""
    with (
        (tmp_path / "words").open("w+b") as words,
        ThreadPoolExecutor(1) as pool,
        socket.socket() as slow,
    ):
        served = start(folder, engine, words=words)
        assert served.get("/").status_code == 200
        caffe, group = served.worker(), served.process.pid
        if busy == "Caffe":
            os.kill(caffe, signal.SIGSTOP)
            answer = pool.submit(served.send, jpeg(800))
            while not served.get("/api/gallery").json()["engine"]["waiting"]:
                time.sleep(0.05)
        elif busy == "a slow sender":
            slow.connect(("127.0.0.1", int(served.url.rpartition(":")[2])))
            slow.sendall(b"POST /api/upload HTTP/1.1\r\nHost: localhost\r\n")
            slow.sendall(b"Content-Length: 1000\r\n\r\nx")
            assert served.get("/").status_code == 200
        before = words.seek(0, os.SEEK_END)  # the bars of the start
        os.killpg(group, signal.SIGINT)
        out, _ = served.process.communicate(timeout=30)
        words.seek(before)
        assert (out, words.read(), served.process.returncode) == ("the page is closed\n", b"", 0)
        until = time.monotonic() + 10
        while left(group) and time.monotonic() < until:
            time.sleep(0.05)
        assert left(group) == []
        assert not Path(f"/proc/{caffe}").exists()
        if busy == "Caffe":
            assert answer.result().status_code == 503


def left(group: int) -> list[str]:
    """The processes of a group, by their /proc/*/stat."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = path.read_text()
            if int(text.rpartition(")")[2].split()[2]) == group:
                found.append(text)
    return found


def test_what_it_refuses_to_serve(folder: Path, engine: Engine, tmp_path: Path) -> None:
    def serve(*words: str, place: Path = folder) -> str:
        """The only line that it says: there is no bar of an index before it."""
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tools.serve",
                "--task",
                TASK,
                "--port",
                "0",
                *words,
            ],
            cwd=place,
            env=dict(os.environ, PYTHONPATH=str(PROJECT), CAFFE_PYTHON=str(engine.python)),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        return str(line)

    assert "did you mean first" in serve("--models", "frist")
    assert "GPU=seven: a GPU's number" in serve("--models", "first", "--gpu", "seven")
    elsewhere = serve("--models", "first", "--host", "203.0.113.1")
    assert elsewhere.startswith("error: can't serve on 203.0.113.1, port 0: ")
    assert "HOST=" in elsewhere
    assert "Errno" not in elsewhere
    assert "HOST=" in serve("--models", "first", "--host", "no host")
    assert "HOST=a..b: that is no" in serve("--models", "first", "--host", "a..b")
    assert "PORT=65536: a port is" in serve("--models", "first", "--port", "65536")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert serve("--models", "first", "--port", str(port)) == (
            f"error: can't serve on 127.0.0.1, port {port}: another program has that port; "
            "another PORT=, or PORT=0 for a free one"
        )
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    names = (moved / "datasets" / TASK / "lists.json").read_text()
    (moved / "datasets" / TASK / "lists.json").write_text(names.replace(str(folder), str(moved)))
    shutil.rmtree(moved / "datasets/raw/met/images")
    shutil.rmtree(moved / "experiments/features")
    assert "make features WEIGHTS=" in serve("--models", "first", place=moved)


# ---- In a real browser ----


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, once for this file."""
    with chromium() as found:
        yield found


def look(browser: Browser, address: str, width: int = 1280) -> None:
    browser.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    browser.driver.get(address)


def wait(browser: Browser, what: str) -> object:
    """Until a piece of JavaScript returns something true."""
    return WebDriverWait(browser.driver, 30).until(lambda driver: driver.execute_script(what))


COLUMNS = "return document.querySelectorAll('.column').length === {}"
LOADED = (
    "return document.images.length > 3 && [...document.images].every(i => i.loading === 'lazy' ||"
    " i.closest('[hidden]') || (i.complete && i.naturalWidth))"
)


@pytest.mark.browser
def test_search_by_click_and_back(page: Served, browser: Browser) -> None:
    look(browser, page.url)
    wait(browser, "return document.querySelectorAll('.grid a').length === 24")
    link = browser.driver.find_element(By.CSS_SELECTOR, ".grid a")
    row = link.get_attribute("data-name")
    link.click()
    wait(browser, COLUMNS.format(2))
    assert f"image={row}" in browser.driver.current_url
    heads = [each.text for each in browser.driver.find_elements(By.CSS_SELECTOR, ".column h2")]
    assert heads == list(RUNS)  # short, as they differ in it
    browser.driver.find_element(By.CSS_SELECTOR, ".column .grid a").click()
    wait(
        browser,
        f"return !location.search.includes('image={row}&') && location.search != '?image={row}'",
    )
    browser.driver.back()
    wait(browser, f"return document.querySelector('#query-figure').dataset.image === '{row}'")
    shared = browser.driver.current_url
    shown = wait(browser, "return document.querySelector('#query-caption').innerText")
    look(browser, shared)  # the link alone brings the same view
    wait(browser, COLUMNS.format(2))
    assert wait(browser, "return document.querySelector('#query-caption').innerText") == shown
    wait(browser, LOADED)
    assert browser.errors() == []


@pytest.mark.browser
def test_search_by_upload(page: Served, browser: Browser) -> None:
    look(browser, page.url)
    wait(browser, "return document.querySelectorAll('.grid a').length === 24")
    original = page.folder / "datasets/raw/met/images" / image_name(8)
    browser.driver.find_element(By.ID, "file").send_keys(str(original))
    wait(browser, COLUMNS.format(2))
    first = browser.driver.find_elements(By.CSS_SELECTOR, ".column .grid li:first-child a")
    assert {each.get_attribute("data-row") for each in first} == {"8"}
    shared = browser.driver.current_url
    assert "upload=" in shared
    with tempfile.TemporaryDirectory() as room:
        bad = Path(room) / "bad.jpg"
        bad.write_bytes(b"no image at all")
        browser.driver.find_element(By.ID, "file").send_keys(str(bad))
        wait(browser, "return document.querySelector('#message.wrong')")
        assert "not an image" in browser.driver.find_element(By.ID, "message").text
    assert all("415" in each for each in browser.errors())
    look(browser, shared)
    wait(browser, COLUMNS.format(2))


@pytest.mark.browser
def test_filters_and_models(page: Served, browser: Browser) -> None:
    look(browser, f"{page.url}/?image={image_name(2)}")
    wait(browser, COLUMNS.format(2))
    artist = browser.driver.find_element(By.ID, "filter-artist")
    Select(artist).select_by_value("Sofonisba")
    wait(browser, "return location.search.includes('filter=artist%3ASofonisba')")
    wait(
        browser,
        "const a = [...document.querySelectorAll('.column .artist')];"
        "return a.length && a.every(each => each.textContent === 'Sofonisba')",
    )
    browser.driver.find_element(By.CSS_SELECTOR, f"#models input[value='{SECOND}']").click()
    wait(browser, COLUMNS.format(1))
    Select(browser.driver.find_element(By.ID, "k")).select_by_visible_text("6")
    wait(browser, "return document.querySelectorAll('.column li').length === 6")
    artist = browser.driver.find_element(By.ID, "filter-artist")
    only = browser.driver.find_element(By.CSS_SELECTOR, f"#models input[value='{FIRST}']")
    only.click()  # the last model stays
    assert only.is_selected()
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, ".column")) == 1
    assert browser.errors() == []


@pytest.mark.browser
def test_what_the_catalogue_says_is_text(page: Served, browser: Browser) -> None:
    look(browser, f"{page.url}/?image={image_name(1)}")
    wait(browser, COLUMNS.format(2))
    assert EVIL in browser.driver.find_element(By.ID, "query-caption").text
    assert browser.driver.title != "broken in"
    assert browser.run("return document.querySelectorAll('main script').length") == 0


@pytest.mark.browser
def test_the_confusion_matrix_is_clickable(page: Served, browser: Browser) -> None:
    look(browser, f"{page.url}/?view=classes")
    wait(browser, "return document.querySelectorAll('#matrix button').length")
    button = browser.driver.find_element(
        By.CSS_SELECTOR, "#matrix button[data-true=Italian][data-predicted=French]"
    )
    count = int(button.get_attribute("data-count") or 0)
    button.click()
    wait(browser, f"return document.querySelectorAll('#cell li').length === {count}")
    assert "Italian, taken for French" in browser.driver.find_element(By.ID, "cell").text
    browser.driver.find_element(By.CSS_SELECTOR, "#cell .grid a").click()
    wait(browser, COLUMNS.format(2))
    assert browser.errors() == []


@pytest.mark.browser
def test_why_in_the_page(page: Served, browser: Browser) -> None:
    look(browser, f"{page.url}/?image={image_name(3)}")
    wait(browser, COLUMNS.format(2))
    browser.driver.find_element(By.CSS_SELECTOR, "#why-actions button").click()
    wait(browser, "return document.querySelectorAll('#why .maps img').length === 3")
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "#why .bars button")) == 3
    assert "nearest of its other training images" in browser.driver.find_element(By.ID, "why").text
    assert browser.errors() == []


@pytest.mark.browser
def test_the_keyboard_is_enough(page: Served, browser: Browser) -> None:
    look(browser, page.url)
    wait(browser, "return document.querySelectorAll('.grid a').length === 24")
    body = browser.driver.find_element(By.TAG_NAME, "body")
    body.send_keys("/")
    assert browser.driver.switch_to.active_element.get_attribute("id") == "text"
    browser.driver.switch_to.active_element.send_keys("Leyster", Keys.ENTER)
    wait(browser, "return document.querySelectorAll('.grid a').length === 9")
    browser.run("document.activeElement.blur()")
    body.send_keys(Keys.ARROW_RIGHT)
    one = browser.driver.switch_to.active_element.get_attribute("data-name")
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    two = browser.driver.switch_to.active_element.get_attribute("data-name")
    assert one is not None
    assert two not in (None, one)
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    wait(browser, f"return location.search.includes('image={two}')")
    wait(browser, COLUMNS.format(2))
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert f"image={two}" in browser.driver.current_url  # Esc leaves no search


@pytest.mark.browser
@pytest.mark.parametrize(
    "address",
    ["/", f"/?image={image_name(2)}", f"/?image={image_name(2)}&why={FIRST}", "/?view=classes"],
)
def test_a_narrow_screen(page: Served, browser: Browser, address: str) -> None:
    look(browser, page.url + address, width=360)
    wait(browser, "return document.querySelectorAll('.grid a, #matrix button').length")
    if "why" in address:
        wait(browser, "return document.querySelectorAll('#why .maps img').length === 3")
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.errors() == []


def test_the_world_is_what_these_tests_think(page: Served) -> None:
    said = page.get("/api/gallery").json()
    assert said["count"] == COUNT
    assert said["explainable"] == said["tested"] == [FIRST, SECOND]
    assert SimilarWorld.__doc__
