"""`milr report`: one HTML file about one run, several, or a sweep."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from milr.console import console
from milr.errors import MilrError
from milr.fields import load
from milr.files import require_file
from milr.report.gathering import gather
from milr.report.steps import outputs_of
from milr.runs.find import RunInfo
from milr.sweeps.fits import is_sweep

PACKAGES = {"jinja2": "jinja2", "altair": "altair", "vl_convert": "vl-convert-python"}  # module -> its package

log = logging.getLogger("milr")


def main(options: Namespace) -> int:
    """Write the report and name it."""
    require_packages()
    with console():
        path = report(options.runs, options.outputs, options.to, options.device)
        log.info("open %s", path)
    return 0


def require_packages() -> None:
    """MilrError that says what to install."""
    if missing := [package for module, package in PACKAGES.items() if find_spec(module) is None]:
        raise MilrError(f"milr report needs {', '.join(missing)}: pip install 'milr[report]'")


def report(words: list[str], outputs: Path, to: str | None, device: str) -> Path:
    """Writes the report that the words ask for, and returns where it is."""
    if not words:
        raise MilrError("name a run, several, or the folder of a sweep: latest, or what `milr runs` lists")
    file = Path(to).expanduser() if to else None
    if file and file.is_dir():
        raise MilrError(f"--to {to} is a folder: name the file in it, --to {file / 'report.html'}")
    if file:
        require_file(file, f"--to {to}")
    sweeps = [Path(word).expanduser() for word in words if is_sweep(Path(word).expanduser())]
    if sweeps and len(words) > 1:
        raise MilrError(f"{sweeps[0]} is a sweep: a report is of one sweep, or of runs")
    if sweeps:
        sweep = load("milr.report.sweeps:read_sweep")(sweeps[0], device)
        page, name = load("milr.report.page:page_of_sweep")(sweep), sweeps[0].absolute().name
        place = outputs_of(sweeps[0].absolute() / "job", "fit_milr")
    else:
        gathered = gather(words, outputs)
        page = load("milr.report.page:page_of_runs")(gathered, to)
        name = "_".join(subject.name for subject in gathered.subjects)
        place = common_place([subject.fit for subject in gathered.subjects])
    path = file or (place or outputs) / "reports" / f"{name[:100]}.html"
    load("milr.report.page:write_page")(page, path)
    return path


def common_place(fits: Sequence[RunInfo]) -> Path | None:
    """The folder of runs that all fits lie in: their report belongs there. None where there is no such one."""
    places = {outputs_of(fit.folder, fit.stage) for fit in fits}
    return places.pop() if len(places) == 1 else None
