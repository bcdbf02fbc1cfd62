"""`milr runs`: the runs under outputs/ as a table, from their manifests alone."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from milr.errors import MilrError
from milr.fields import nearest
from milr.runs.find import STATES, RunInfo, find_runs, name_of
from milr.settings.stages import STAGES, cli_name
from milr.text import aligned, first_line

COLUMNS = ("stage", "name", "when", "state", "parent", "key figure")
LONGEST_LINE = 80


def main(options: Namespace) -> int:
    """`milr runs`."""
    print(list_runs(options.outputs, options.filters, options.json))
    return 0


def list_runs(outputs: Path, filters: Mapping[str, str], as_json: bool = False) -> str:
    """The text that `milr runs` prints. filters: of "stage", "state" and "name" (a part of it, or a pattern with *)."""
    check_filters(filters)
    runs = [run for run in find_runs(outputs) if matches(run, filters, outputs)]
    if as_json:
        return json.dumps([entry(run, outputs) for run in runs], indent=2)  # ASCII: whatever the locale, JSON it stays
    if not runs:
        return f"no such run in {outputs}" if filters else f"no run in {outputs}"
    return "\n".join(aligned([COLUMNS, *(row(run, outputs) for run in runs)]))


def check_filters(filters: Mapping[str, str]) -> None:
    """MilrError for a stage or a state that does not exist."""
    stages = [cli_name(stage) for stage in STAGES]
    stage, state = cli_name(filters.get("stage", stages[0])), filters.get("state", STATES[0])
    if stage not in stages:
        raise MilrError(f"stage={stage}: choose one of {', '.join(stages)}{nearest(stage, stages)}")
    if state not in STATES:
        raise MilrError(f"state={state}: choose one of {', '.join(STATES)}{nearest(state, STATES)}")


def matches(run: RunInfo, filters: Mapping[str, str], outputs: Path) -> bool:
    """Whether a run is among those that are asked for."""
    stage, state, name = (filters.get(key) for key in ("stage", "state", "name"))
    if stage and cli_name(run.stage) != cli_name(stage):
        return False
    if state and run.state != state:
        return False
    return not name or fnmatch(name_of(run, outputs), f"*{name}*")


def entry(run: RunInfo, outputs: Path) -> dict[str, Any]:
    """A run as JSON has it."""
    copied = ("created", "finished", "seconds", "error", "result")
    return {
        "stage": cli_name(run.stage),
        "name": name_of(run, outputs),
        "folder": str(run.folder),
        "state": run.state,
        "problem": run.problem,
        "parent": parent_of(run) or None,
        **{key: run.manifest.get(key) for key in copied},
        "key_figure": key_figure(run),
    }


def row(run: RunInfo, outputs: Path) -> tuple[str, ...]:
    """A run as the table has it."""
    when = run.created.strftime("%Y-%m-%d %H:%M") if run.created else ""
    name = name_of(run, outputs).removeprefix(f"{run.stage}/")
    return cli_name(run.stage), name, when, run.state, Path(parent_of(run)).name, key_figure(run)


def parent_of(run: RunInfo) -> str:
    """The folder of the run that it went on from; nothing where there is none."""
    parent = run.manifest.get("parent")
    return str(parent.get("folder", "")) if isinstance(parent, Mapping) else ""


def key_figure(run: RunInfo) -> str:
    """What one wants to know of the run first: its result, else what went wrong."""
    result = run.manifest.get("result")
    if not isinstance(result, Mapping):
        return shortened_line(run.problem or run.manifest.get("error") or "")
    try:
        formats = STAGES[run.stage].figure
    except KeyError:
        return ""
    for text in formats:
        try:
            return text.format(**result, **({"split": "/".join(run.manifest["split"])} if "{split}" in text else {}))
        except (KeyError, TypeError, ValueError):  # not measured, or of another version
            continue
    return "?"


def shortened_line(text: object) -> str:
    """The first line of a message, cut where it is long."""
    line = first_line(text)
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 3]}..."
