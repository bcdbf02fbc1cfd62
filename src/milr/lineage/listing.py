"""`milr runs`: the runs under outputs/ as a table, from their manifests alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from milr.errors import MilrError
from milr.runs.find import STATES, FoundRun, find_runs, name_of
from milr.settings.schema import STAGES
from milr.settings.stages import spoken
from milr.settings.values import nearest

COLUMNS = ("stage", "name", "when", "state", "parent", "key figure")


def list_runs(outputs: Path, filters: Mapping[str, str], as_json: bool = False) -> str:
    """The text that `milr runs` prints. filters: of "stage", "state" and "name" (a part of it, or a pattern with *)."""
    check_filters(filters)
    runs = [run for run in find_runs(outputs) if fits(run, filters, outputs)]
    if as_json:
        return json.dumps([entry(run, outputs) for run in runs], indent=2)  # ASCII: whatever the locale, JSON it stays
    if not runs:
        return f"no such run in {outputs}" if filters else f"no run in {outputs}"
    return "\n".join(aligned([COLUMNS, *(row(run, outputs) for run in runs)]))


def check_filters(filters: Mapping[str, str]) -> None:
    """MilrError for a stage or a state that does not exist."""
    stages = [spoken(stage) for stage in STAGES]
    stage, state = spoken(filters.get("stage", stages[0])), filters.get("state", STATES[0])
    if stage not in stages:
        raise MilrError(f"stage={stage}: choose one of {', '.join(stages)}{nearest(stage, stages)}")
    if state not in STATES:
        raise MilrError(f"state={state}: choose one of {', '.join(STATES)}{nearest(state, STATES)}")


def fits(run: FoundRun, filters: Mapping[str, str], outputs: Path) -> bool:
    """Whether a run is among those that are asked for."""
    stage, state, name = (filters.get(key) for key in ("stage", "state", "name"))
    if stage and spoken(run.stage) != spoken(stage):
        return False
    if state and run.state != state:
        return False
    return not name or fnmatch(name_of(run, outputs), f"*{name}*")


def entry(run: FoundRun, outputs: Path) -> dict[str, Any]:
    """A run as JSON has it."""
    kept = ("created", "finished", "seconds", "error", "result")
    return {
        "stage": spoken(run.stage),
        "name": name_of(run, outputs),
        "folder": str(run.folder),
        "state": run.state,
        "problem": run.problem,
        "parent": parent_of(run) or None,
        **{key: run.manifest.get(key) for key in kept},
        "key_figure": key_figure(run),
    }


def row(run: FoundRun, outputs: Path) -> tuple[str, ...]:
    """A run as the table has it."""
    when = run.created.strftime("%Y-%m-%d %H:%M") if run.created else ""
    name = name_of(run, outputs).removeprefix(f"{run.stage}/")
    return spoken(run.stage), name, when, run.state, Path(parent_of(run)).name, key_figure(run)


def parent_of(run: FoundRun) -> str:
    """The folder of the run that it went on from; nothing where there is none."""
    parent = run.manifest.get("parent")
    return str(parent.get("folder", "")) if isinstance(parent, Mapping) else ""


def key_figure(run: FoundRun) -> str:
    """What one wants to know of the run first: its result, else what went wrong."""
    result = run.manifest.get("result")
    if not isinstance(result, Mapping):
        return first_line(run.problem or run.manifest.get("error") or "")
    try:
        return FIGURES[run.stage](result, run.manifest) if run.stage in FIGURES else ""
    except (KeyError, TypeError, ValueError, AttributeError):  # of another version
        return "?"


def first_line(text: object, longest: int = 80) -> str:
    """The first line of a message, cut where it is long."""
    line = (str(text).splitlines() or [""])[0]
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def of_accuracy(result: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """The accuracy of a test, with its interval."""
    split = "/".join(manifest["split"])
    return f"{split} accuracy {result['accuracy']:.3f} ± {result['interval']:.3f}"


def of_fit(result: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """What a fit reached on the validation episodes."""
    found = result["validation"]
    kept = f"decision accuracy {found['accuracy']:.3f} of {found['untouched_accuracy']:.3f}"
    return f"objective {found['objective']:.3f}, {kept}"


def of_figures(result: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """What a sheet, or a sweep's figure, shows."""
    if "fits" in result:
        return f"{result['fits']} fits, best accuracy {result['best_accuracy']:.3f}"
    return f"total {result['total_mean_bits']:.3f} bits a place"


def of_sanity(result: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """How far the decision map repeats, if that was looked at."""
    repeatability = result["decision_repeatability"]
    return f"{result['rows']} rows" if repeatability is None else f"decision repeatability {repeatability:.3f}"


FIGURES: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], str]] = {
    "train_protonet": lambda result, manifest: f"validation accuracy {result['validation_accuracy']:.3f}",
    "test_protonet": of_accuracy,
    "fit_milr": of_fit,
    "visualize": of_figures,
    "evaluate": lambda result, manifest: f"decision area {result['decision_area']:.3f}",
    "sanity": of_sanity,
}


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines of left-aligned columns, the last one ragged."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
