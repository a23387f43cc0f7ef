"""What an art historian does on the page: in a real Chromium."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import Browser, chromium
from tests.served_page import Served
from tests.similar_world import RUNS, image_name

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


LARGE = "const i = document.querySelector('.canvas img'); return i.complete && i.naturalWidth"


def look(browser: Browser, address: str, width: int = 1280, *, dark: bool = False) -> None:
    command = browser.driver.execute_cdp_cmd
    command(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    command("Emulation.setEmulatedMedia", {"features": scheme})
    browser.driver.get(address)


def wait(browser: Browser, what: str) -> object:
    return WebDriverWait(browser.driver, 40).until(lambda driver: driver.execute_script(what))


def search(page: Served, browser: Browser, number: int = 3, width: int = 1280) -> None:
    look(browser, f"{page.url}/?image={image_name(number)}", width)
    wait(browser, "return document.querySelectorAll('.column li').length === 24")


def press(browser: Browser, key: str) -> None:
    browser.driver.switch_to.active_element.send_keys(key)


def test_an_answer_is_seen_and_focused_and_esc_closes_it_alone(
    page: Served, browser: Browser
) -> None:
    search(page, browser)
    browser.run("scrollTo(0, document.body.scrollHeight)")
    browser.run("document.querySelector('#why-actions button').click()")
    wait(browser, "return document.querySelectorAll('#why .maps img').length === 3")
    top = browser.run("return document.querySelector('#why').getBoundingClientRect().top")
    assert 0 <= top < 400
    assert browser.run("return document.activeElement.id") == "why"
    text = browser.driver.find_element(By.ID, "why").text
    assert "the true class is Dutch" in text
    assert "training image of this run" in text
    names = browser.run(
        "return [...document.querySelectorAll('#why .grid a')].map(a => a.dataset.name)"
    )
    assert names
    assert image_name(3) not in names  # the query is no neighbour of itself
    press(browser, Keys.ESCAPE)
    wait(browser, "return document.querySelector('#why').hidden")
    assert f"image={image_name(3)}" in browser.driver.current_url
    assert browser.run("return document.activeElement.closest('#why-actions') !== null")


def test_every_work_has_rank_part_and_distance(page: Served, browser: Browser) -> None:
    search(page, browser)
    ranks = browser.run(
        "return [...document.querySelectorAll('.column:first-child .rank')].map(e => e.innerText)"
    )
    assert ranks == [str(number) for number in range(1, 13)]
    parts = browser.run(
        "return [...document.querySelectorAll('.column .part')].map(e => e.innerText)"
    )
    assert len(parts) == 24
    assert set(parts) <= {"training image", "validation image", "test image"}
    far = browser.run(
        "return [...document.querySelectorAll('.column .distance')].map(e => e.innerText)"
    )
    assert all(each.startswith("distance 0.") and each != "distance 0.000" for each in far)
    both = browser.run(
        "const of = n => [...document.querySelectorAll(`.column:nth-child(${n}) a`)]"
        ".map(a => a.dataset.name); const one = of(1), two = of(2);"
        "return [one.filter(name => two.includes(name)).length * 2,"
        " document.querySelectorAll('.both').length]"
    )
    assert both[0] == both[1] > 0


def test_names_are_found_in_part_and_without_accents(page: Served, browser: Browser) -> None:
    look(browser, f"{page.url}/?text=L%C3%A9yst+pict")
    wait(browser, "return document.querySelectorAll('.grid a').length === 9")


def test_large_detail_and_comparison(page: Served, browser: Browser) -> None:
    search(page, browser)
    browser.driver.find_element(By.CSS_SELECTOR, ".column .large").click()
    wait(browser, "return document.querySelector('#large').open")
    wait(
        browser,
        "const i = document.querySelector('.canvas img'); return i.complete && i.naturalWidth",
    )
    label = browser.driver.find_element(By.CSS_SELECTOR, "#large dl").text
    assert "nationality" in label
    assert "file" in label
    browser.driver.find_element(By.ID, "compare").click()
    sides = browser.run("return document.querySelectorAll('.pair:not(#pair-maps) img').length")
    assert sides == 2
    wait(browser, "return [...document.querySelectorAll('.pair img')].every(i => i.naturalWidth)")
    heights = browser.run("return [...document.querySelectorAll('.pair img')].map(i => i.height)")
    assert heights[0] == heights[1]
    browser.driver.find_element(By.CSS_SELECTOR, "#large-inside .actions button").click()
    wait(browser, "return document.querySelectorAll('#pair-maps img').length === 2")
    press(browser, Keys.ESCAPE)
    wait(browser, "return !document.querySelector('#large').open")
    assert browser.run("return document.activeElement.className") == "large"  # where it came from
    assert browser.errors() == []


def test_a_detail_by_keyboard(page: Served, browser: Browser) -> None:
    search(page, browser)
    browser.driver.find_element(By.ID, "query-large").click()
    wait(
        browser,
        "const i = document.querySelector('.canvas img'); return i.complete && i.naturalWidth",
    )
    browser.driver.find_element(By.ID, "cut-begin").click()
    before = browser.run("return document.querySelector('.cut').style.left")
    press(browser, Keys.ARROW_RIGHT)
    assert browser.run("return document.querySelector('.cut').style.left") != before
    press(browser, Keys.ENTER)
    wait(browser, "return location.search.includes('upload=')")
    wait(browser, "return document.querySelectorAll('.column li').length === 24")
    assert "detail of Picture 3" in browser.driver.find_element(By.ID, "query-caption").text


def test_a_detail_by_mouse_is_what_was_drawn(page: Served, browser: Browser) -> None:
    search(page, browser)
    browser.driver.find_element(By.ID, "query-large").click()
    wait(
        browser,
        "const i = document.querySelector('.canvas img'); return i.complete && i.naturalWidth",
    )
    browser.run(
        "const i = document.querySelector('.canvas img'), r = i.getBoundingClientRect();"
        "const at = (kind, x, y) => i.dispatchEvent(new PointerEvent(kind, {bubbles: true,"
        " pointerId: 1, clientX: r.left + x * r.width, clientY: r.top + y * r.height}));"
        "i.setPointerCapture = () => {};"
        "at('pointerdown', 0.5, 0.5); at('pointermove', 1, 1); at('pointerup', 1, 1);"
    )
    browser.driver.find_element(By.ID, "cut-search").click()
    wait(browser, "return location.search.includes('upload=')")
    wait(browser, "return document.querySelectorAll('.column li').length === 24")
    token = browser.driver.current_url.split("upload=")[1].split("&")[0]
    cut = Image.open(io.BytesIO(page.get(f"/upload/{token}").content))
    whole = Image.open(page.folder / "datasets/raw/met/images" / image_name(3))
    width, height = whole.size
    assert abs(cut.width - width / 2) <= 1
    assert abs(cut.height - height / 2) <= 1
    expected = np.asarray(whole.crop((width // 2, height // 2, width, height)).resize(cut.size))
    assert np.abs(np.asarray(cut).astype(int) - expected).mean() < 12  # a JPEG of a thumbnail


def test_a_selection_is_kept_and_saved(page: Served, browser: Browser) -> None:
    search(page, browser)
    browser.run("localStorage.clear()")
    search(page, browser)
    for box in browser.driver.find_elements(By.CSS_SELECTOR, ".column:first-child .tools input")[
        :3
    ]:
        browser.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
        box.click()
    names = browser.run(
        "return [...document.querySelectorAll('.column:first-child a')].slice(0, 3)"
        ".map(a => a.dataset.name)"
    )
    search(page, browser, 4)  # another page, later
    assert browser.driver.find_element(By.ID, "selection-count").text == "3 selected"
    browser.run(
        "const make = URL.createObjectURL; URL.createObjectURL = (blob) => {"
        " blob.text().then(text => { window.saved = text; }); return make(blob); };"
    )
    browser.driver.find_element(By.ID, "export").click()
    saved = str(wait(browser, "return window.saved"))
    lines = saved.removeprefix("\ufeff").strip().split("\r\n")
    assert len(lines) == 4
    for column in ("name", "artist", "title", "part"):
        assert f'"{column}"' in lines[0]
    assert all(name in saved for name in names)
    browser.driver.find_element(By.ID, "unselect").click()
    assert not browser.driver.find_element(By.ID, "selection").is_displayed()


def test_print_shows_paintings_and_no_buttons(page: Served, browser: Browser) -> None:
    search(page, browser)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        shown = browser.run(
            "return [...document.querySelectorAll('button, input, select, nav, footer')]"
            ".filter(e => e.offsetParent && e.id !== 'query-large').length"
        )
        assert shown == 0
        assert browser.run("return document.querySelectorAll('.column img').length") == 24
        pdf = browser.driver.execute_cdp_cmd("Page.printToPDF", {})["data"]
        assert base64.b64decode(pdf).startswith(b"%PDF")
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


_CONTRAST = """
const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const rgb = (text) => {
  paint.clearRect(0, 0, 1, 1);
  paint.fillStyle = text;
  paint.fillRect(0, 0, 1, 1);
  return [...paint.getImageData(0, 0, 1, 1).data];
};
const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) =>
  0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
const ground = (e) => {
  for (; e; e = e.parentElement) {
    const colour = rgb(getComputedStyle(e).backgroundColor);
    if (colour[3] > 250) return colour;
  }
  return [255, 255, 255];
};
const low = [];
for (const e of document.querySelectorAll('body *')) {
  const text = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  if (!e.offsetParent || !text) continue;
  if (e.tagName === 'OPTION' || e.className === 'hidden' || e.className === 'skip') continue;
  const one = light(rgb(getComputedStyle(e).color)), two = light(ground(e));
  const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
  if (ratio < 4.5) low.push(`${e.tagName}.${e.className} ${e.innerText} ${ratio.toFixed(2)}`);
}
return low;
"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("view", ["search", "classes", "why"])
def test_contrast(page: Served, browser: Browser, view: str, dark: bool) -> None:
    why = f"/?image={image_name(3)}&why=met_nationality/{RUNS[0]}"
    address = {"search": f"/?image={image_name(3)}", "classes": "/?view=classes", "why": why}[view]
    look(browser, page.url + address, dark=dark)
    wait(browser, "return document.querySelectorAll('.grid a, #matrix button').length")
    if view == "why":
        wait(browser, "return document.querySelectorAll('#why .maps img').length === 3")
    time.sleep(0.3)
    assert browser.run(_CONTRAST) == []


def test_on_a_phone_the_first_result_is_on_the_first_screen(page: Served, browser: Browser) -> None:
    search(page, browser, width=360)
    box = browser.run(
        "return document.querySelector('.column .label').getBoundingClientRect().bottom"
    )
    assert box < 640
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")


def test_the_matrix_has_axes_and_totals(page: Served, browser: Browser) -> None:
    look(browser, f"{page.url}/?view=classes")
    wait(browser, "return document.querySelectorAll('#matrix button').length")
    text = browser.driver.find_element(By.ID, "matrix").text
    for words in ("true class", "predicted class", "images", "67 %", "89 %"):
        assert words in text
    assert browser.driver.find_elements(By.CSS_SELECTOR, "#matrix caption")
