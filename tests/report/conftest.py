"""Reports of runs that never ran, and a browser to look at them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import shown_fit as shown

from milr.cli import main

MadeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


@pytest.fixture
def without_vega(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without the program for charts, whose bundling takes seconds."""
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda snippet: "")


@pytest.fixture(scope="session")
def reports(made_once: MadeOnce) -> Path:
    """The folder of reports of one run (one.html) and of two (two.html). Only to be read."""

    def write(folder: Path) -> None:
        outputs = folder / "outputs"
        shown.calibrate(outputs)
        shown.fitted(outputs, "first", stages=("evaluate", "sanity"))
        shown.fitted(outputs, "second", stages=("evaluate",), **{"milr.beta": 9.0})
        for name, runs in (("one", ["first"]), ("two", ["first", "second"])):
            assert main(["report", *runs, f"outputs={outputs}", "--to", str(folder / f"{name}.html")]) == 0

    return made_once("reports", write)


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """A headless Chromium of the system's."""
    programs = ("chromium", "chromium-browser", "google-chrome")
    program = next((path for name in programs if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser here: none of {', '.join(programs)} (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    with playwright.sync_playwright() as started:
        open_browser = started.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield open_browser
        open_browser.close()
