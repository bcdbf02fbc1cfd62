"""How runs came about: settings beside the defaults, parents, data, seeds, versions, cost, and the commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from milr.errors import MilrError
from milr.fields import leaves
from milr.lineage.listing import key_figure
from milr.lineage.show import story_of
from milr.report.gathering import Subject
from milr.report.tables import NOTHING, Table
from milr.runs.find import RunInfo, read_run
from milr.runs.manifests import read_config


@dataclass(frozen=True)
class Step:
    """One run of the way that led here."""

    stage: str
    folder: str
    when: str
    seconds: float
    command: str
    figure: str
    settings: Table
    facts: Table
    problems: Sequence[str]  # what is no longer as it was

    @property
    def cost(self) -> str:
        """How long it took."""
        return duration(self.seconds)


def duration(seconds: float) -> str:
    """ "1:02:03"; hours, minutes, seconds."""
    return str(timedelta(seconds=round(seconds)))


def steps_of(subject: Subject) -> list[Step]:
    """The runs in their order: what the fit was made from, that network's test, the fit, and what was made from it."""
    fit, tests = subject.fit, [subject.test] if subject.test else []
    story = story_of(fit)
    parents = [read_run(Path(parent["folder"])) for parent in story["parents"] if parent["stage"] != "weights"]
    before = [(run, story_of(run)) for run in [*(run for run in reversed(parents) if not run.problem), *tests]]
    after = [(run, story_of(run)) for run in subject.followers.values()]
    return [step_of(run, its_story) for run, its_story in [*before, (fit, story), *after]]


def step_of(run: RunInfo, story: Mapping[str, Any]) -> Step:
    """A run as the page tells it."""
    settings = [[key, shown(value)] for key, value in story["differences"].items()]
    problems = [
        f"{parent['stage']} {parent['folder']}: {parent['problem']}" for parent in story["parents"] if parent["problem"]
    ]
    problems += [f"data: {story['data_problem']}"] if story["data_problem"] else []
    problems += [story["settings_problem"]] if story["settings_problem"] else []
    return Step(
        story["stage"],
        story["folder"],
        run.created.strftime("%Y-%m-%d %H:%M") if run.created else "",
        float(story["seconds"] or 0),
        str(story["command"] or ""),
        key_figure(run),
        Table("Settings beside the defaults, and beside those of the parent", ["setting", "value"], settings),
        Table("What it ran on", ["what", "value"], facts_of(story)),
        problems,
    )


def facts_of(story: Mapping[str, Any]) -> list[list[str]]:
    """Data, seed, versions and machine."""
    rows = []
    if data := story["data"]:
        cut = f"crop={data['crop']}, {data['size']} px"
        rows.append(["data", f"{data['root']}: {data['images']} pictures of {data['classes']} classes, {cut}"])
        rows.append(["data fingerprint", str(data["fingerprint"])])
    facts = story["facts"]
    rows.append(["seed", shown(facts["seed"])])
    rows.append(["milr", shown(facts["milr"])])
    for name in ("git", "versions", "host"):
        rows += [[f"{name}: {key}", shown(value)] for key, value in (facts[name] or {}).items() if value is not None]
    if checkpoint := story["checkpoint"]:
        rows.append(["checkpoint", f"{checkpoint['file']}, sha256 {checkpoint['sha256']}"])
    return rows


def shown(value: object) -> str:
    """A value for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return NOTHING if value is None else str(value)


def differing(fits: Mapping[str, RunInfo]) -> Table:
    """The settings in which fits differ: a row each, a column for each run."""
    settings = {}
    for name, fit in fits.items():
        try:
            settings[name] = dict(leaves(read_config(fit.folder)))
        except MilrError:
            settings[name] = {}
    keys = dict.fromkeys(key for each in settings.values() for key in each)
    rows = [[key, *(shown(each.get(key)) for each in settings.values())] for key in keys]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    return Table("Settings in which the fits differ", ["setting", *settings], rows)
