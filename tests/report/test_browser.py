"""The page in a real browser: it opens from a file, its controls work, nothing is complained about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WIDTHS = (1280, 768, 390)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # playwright's own warnings are not ours


class Opened:
    """A page with what the browser complained about, and what it asked for."""

    def __init__(self, browser: Any, path: Path, width: int = 1280, dark: bool = False) -> None:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", offline=True
        )
        self.page = context.new_page()
        self.page.set_default_timeout(60_000)  # of a machine with other work
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url[:40]))
        self.page.goto(path.as_uri())

    def charts(self) -> None:
        """Wait for every chart that is not in a closed part."""
        self.page.wait_for_function(
            "[...document.querySelectorAll('.vega')].every(v => v.dataset.ready || v.closest('details:not([open])'))"
        )


@pytest.fixture(scope="module")
def opened_once(browser: Any, reports: Path) -> Iterator[Opened]:
    opened = Opened(browser, reports / "one.html")
    yield opened
    opened.page.context.close()


@pytest.fixture
def one(opened_once: Opened) -> Iterator[Opened]:
    """The page of one run as it is at first. It is opened once, which takes seconds."""
    yield opened_once
    assert opened_once.complaints == []
    opened_once.page.click("button[type=reset]")
    opened_once.page.evaluate("scrollTo(0, 0)")


def names(opened: Opened) -> list[str]:
    """The numbers of the cards that are seen, in their order."""
    seen = "[...document.querySelectorAll('.card:not([hidden])')].map(card => card.dataset.number)"
    return opened.page.evaluate(seen)


def test_it_opens_from_a_file_and_asks_for_nothing_else(one: Opened) -> None:
    one.charts()
    assert [url for url in one.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert one.page.locator("#worth .vega svg").count() >= 4


def test_a_map_is_painted_with_its_bits(one: Opened) -> None:
    canvas = one.page.locator("canvas").first
    canvas.scroll_into_view_if_needed()
    one.page.wait_for_function("document.querySelector('.bar .high').textContent !== ''")
    lowest, highest = canvas.evaluate(
        """(canvas) => {
          const bytes = Uint8Array.from(atob(canvas.dataset.map), (c) => c.charCodeAt(0));
          const steps = [...new Uint16Array(bytes.buffer)];
          const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
          const at = (n) => [...pixels.slice(4 * n, 4 * n + 3)];
          return [at(steps.indexOf(Math.min(...steps))), at(steps.indexOf(Math.max(...steps)))];
        }"""
    )
    assert sum(lowest) < sum(highest)  # the colours rise in lightness


def test_the_bits_under_the_mouse_and_under_the_arrow_keys(one: Opened) -> None:
    maps, value = one.page.locator(".maps").first, one.page.locator(".value").first
    box = maps.locator(".stack").first.bounding_box()
    one.page.mouse.move(box["x"] + 1, box["y"] + 1)
    assert value.text_content().startswith("row 1, column 1: total ")
    maps.focus()
    one.page.keyboard.press("ArrowDown")
    one.page.keyboard.press("ArrowLeft")
    assert value.text_content().startswith("row 2, column 8: total ")
    pairs = value.text_content().partition(": ")[2].removesuffix(" bits").replace("\u2212", "-").split(", ")
    said = {kind: float(bits) for kind, bits in map(str.split, pairs)}
    assert [*said] == ["total", "kept", "redundant", "decision"]
    assert abs(said["total"] - said["kept"] - said["redundant"]) < 0.02  # eq. 9, of three digits each
    low, high = one.page.evaluate("document.querySelector('canvas').dataset.range").split(",")
    assert float(low) - 0.01 <= said["total"] <= float(high) + 0.01


def test_sorting_filtering_and_the_slider(one: Opened) -> None:
    page = one.page
    assert names(one) == list("123456")
    page.select_option("#sort", "right")
    assert names(one)[0] == "6"  # the wrong one
    page.select_option("#class", "Tree Creeper")
    assert names(one) == ["3", "5", "1"]
    page.select_option("#right", "none")
    assert names(one) == ["1"] and page.text_content("#shown") == "1 of 6 pictures"
    page.click("button[type=reset]")
    page.wait_for_function("document.getElementById('shown').textContent.startsWith('6')")
    page.fill("#least", "100")
    assert names(one) == []
    page.fill("#least", "")
    page.focus("#mix")
    page.keyboard.press("Home")
    assert page.evaluate("getComputedStyle(document.querySelector('canvas')).opacity") == "0"


def test_each_picture_can_have_its_own_scale(one: Opened) -> None:
    high = "document.querySelector('.bar .high').textContent"
    one.page.locator("canvas").first.scroll_into_view_if_needed()
    one.page.wait_for_function(f"{high} !== ''")
    shared = one.page.evaluate(high)
    one.page.select_option("#scale", "picture")
    assert one.page.evaluate(high) != shared


def test_a_colour_bar_says_where_values_go_on(one: Opened) -> None:
    one.page.locator("canvas").first.scroll_into_view_if_needed()
    one.page.wait_for_function("document.querySelector('.bar .high').textContent !== ''")
    ends = (
        "[...document.querySelector('.maps').querySelectorAll('.bar span:not(.ramp)')].map((each) => each.textContent)"
    )
    total_low, total_high, kept_low, *_ = one.page.evaluate(ends)
    assert (total_low, kept_low) == ("0", "0") and total_high.endswith(" or more")  # of a 99.5th percentile


def test_a_narrow_page_has_picture_and_maps_two_by_two(browser: Any, reports: Path) -> None:
    opened = Opened(browser, reports / "one.html", 390)
    boxes = [opened.page.locator(".original img, .stack").nth(number).bounding_box() for number in range(5)]
    assert abs(boxes[4]["x"] - boxes[0]["x"]) < 3 and boxes[4]["y"] > boxes[3]["y"] + boxes[3]["height"] - 3
    assert abs(boxes[0]["y"] - boxes[1]["y"]) < 3 and abs(boxes[2]["y"] - boxes[3]["y"]) < 3
    assert abs(boxes[0]["x"] - boxes[2]["x"]) < 3 and abs(boxes[0]["width"] - boxes[1]["width"]) < 3
    opened.page.context.close()


def test_thumbnails_open_with_a_button(one: Opened) -> None:
    one.page.select_option("#view", "thumbs")
    assert one.page.locator(".card .facts").first.is_hidden()
    button = one.page.locator(".enlarge").first
    button.click()
    assert button.get_attribute("aria-expanded") == "true" and one.page.locator(".card .facts").first.is_visible()


def test_a_word_leads_to_what_it_means_by_the_keyboard(one: Opened) -> None:
    link = one.page.locator("#worth a.word").first
    link.focus()
    one.page.keyboard.press("Enter")
    wanted = str(link.get_attribute("href")).removeprefix("#")
    one.page.wait_for_function(f"document.activeElement.id === '{wanted}'")
    assert one.page.locator(f"#{wanted} dd").is_visible()


@pytest.mark.parametrize("width", WIDTHS)
def test_no_width_makes_the_page_scroll_sideways(browser: Any, reports: Path, width: int) -> None:
    opened = Opened(browser, reports / "two.html", width, dark=width == 768)
    opened.charts()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = """[...document.querySelectorAll('#worth .vega svg')].filter(
      (svg) => svg.getBoundingClientRect().width > svg.closest('.scroll').clientWidth + 1).length"""
    assert opened.page.evaluate(beyond) == 0  # legends too
    assert opened.complaints == []
    opened.page.context.close()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["one", "two"])
def test_axe_finds_no_accessibility_error(browser: Any, reports: Path, name: str, dark: bool) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    opened = Opened(browser, reports / f"{name}.html", dark=dark)
    opened.charts()
    opened.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    opened.page.evaluate(
        "document.querySelectorAll('.card').forEach((each) => { each.style.contentVisibility = 'visible'; })"
    )
    opened.charts()
    violations = axe.Axe().run(opened.page).response["violations"]
    assert [(v["id"], v["help"], [n["html"][:120] for n in v["nodes"]][:3]) for v in violations] == []
    opened.page.context.close()
