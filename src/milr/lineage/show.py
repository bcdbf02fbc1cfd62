"""`milr show`: one run, from its settings to its files, with everything it was made from."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from milr.errors import MilrError
from milr.fields import leaves
from milr.lineage.differences import differences
from milr.lineage.listing import key_figure
from milr.runs.ancestry import ancestors, data_problem
from milr.runs.find import RunInfo, named_run
from milr.runs.manifests import parent_folder, read_config
from milr.settings.stages import cli_name
from milr.text import aligned

FACTS = ("milr", "versions", "git", "host", "seed", "repeats")


def main(options: Namespace) -> int:
    """`milr show`."""
    print(show_run(options.outputs, options.run, options.json))
    return 0


def show_run(outputs: Path, word: str, as_json: bool = False) -> str:
    """The text that `milr show` prints. Errors: MilrError for a run that does not exist or whose manifest is broken."""
    run = named_run(outputs, word)
    if run.problem:
        raise MilrError(run.problem)
    story = story_of(run)
    return json.dumps(story, indent=2) if as_json else as_text(story, key_figure(run))


def story_of(run: RunInfo) -> dict[str, Any]:
    """Everything that is shown, as plain values."""
    entries = run.manifest.get
    return {
        **{"stage": cli_name(run.stage), "folder": str(run.folder), "state": run.state},
        **{key: entries(key) for key in ("created", "finished", "seconds", "command", "error")},
        **settings_of(run),
        "parents": [
            {**asdict(each), "stage": cli_name(each.stage), "folder": str(each.folder)}
            for each in ancestors(run.folder, run.manifest)
        ],
        **{key: entries(key) for key in ("data", "result", "checkpoint")},
        "facts": {key: entries(key) for key in FACTS},
        "files": files_of(run.folder),
    }


def settings_of(run: RunInfo) -> dict[str, Any]:
    """The entries of the settings and of the data, each with what stands in the way of telling it."""
    try:
        config = read_config(run.folder)
    except MilrError as error:
        return {"differences": {}, "settings_problem": str(error), "data_problem": None}
    problem, changed = None, {}
    try:
        changed = differences(run.stage, config, settings_of_parent(run))
    except MilrError as error:
        problem = str(error)
    return {"differences": changed, "settings_problem": problem, "data_problem": data_problem(run.manifest, config)}


def settings_of_parent(run: RunInfo) -> dict[str, Any] | None:
    """The settings of the run that it went on from; None where there is none, or they are gone."""
    parent = run.manifest.get("parent")
    if not isinstance(parent, Mapping) or not {"folder", "stage"} <= parent.keys():
        return None
    try:
        return read_config(parent_folder(run.folder, parent))
    except MilrError:
        return None


def files_of(folder: Path) -> dict[str, int]:
    """File below the folder -> bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def as_text(story: Mapping[str, Any], figure: str) -> str:
    """The story as a person reads it."""
    seconds = f", {story['seconds']:.0f} s" if story["seconds"] is not None else ""
    lines = [f"{story['stage']}  {story['state']}  {story['created']}{seconds}", story["folder"]]
    lines += [f"$ {story['command']}"] if story["command"] else []
    lines += [f"error: {story['error']}"] if story["error"] else []
    given = [(f"  {key}", str(value)) for key, value in story["differences"].items()]
    lines += ["", f"settings beside the defaults{', and beside those of the parent' if story['parents'] else ''}:"]
    lines += [f"  {story['settings_problem']}"] if story["settings_problem"] else []
    lines += aligned(given) if given else ["  none"]
    return "\n".join([*lines, "", *lineage_lines(story), "", *result_lines(story, figure), "", *file_lines(story)])


def lineage_lines(story: Mapping[str, Any]) -> list[str]:
    """The parents, the nearest first, and the data."""
    lines = ["made from:"]
    for parent in story["parents"]:
        lines.append(f"  {parent['stage']}  {Path(parent['folder']) / parent['checkpoint']}")
        lines.append(f"    {'! ' + parent['problem'] if parent['problem'] else 'unchanged'}")
    data = story["data"]
    if data:
        cut = f"crop={data['crop']}, {data['size']} px"
        lines.append(f"  data  {data['root']}  ({data['images']} pictures of {data['classes']} classes, {cut})")
        lines.append(f"    {'! ' + story['data_problem'] if story['data_problem'] else 'unchanged'}")
    return lines if len(lines) > 1 else [*lines, "  nothing that it tells of"]


def result_lines(story: Mapping[str, Any], figure: str) -> list[str]:
    """The numbers, each with its dotted name."""
    if not isinstance(story["result"], Mapping):
        return ["result: none"]
    numbers = [(f"  {key}", f"{value:.6g}" if isinstance(value, float) else str(value))
               for key, value in leaves(story["result"]) if not isinstance(value, list)]  # fmt: skip
    return [f"result: {figure}", *aligned(numbers)]


def file_lines(story: Mapping[str, Any]) -> list[str]:
    """The files; those in folders summed up."""
    sizes: dict[str, list[int]] = {}
    for file, size in story["files"].items():
        top, below, _ = file.partition("/")
        sizes.setdefault(f"{top}/" if below else top, []).append(size)
    rows = [
        (f"  {name}", size_of(sum(each)), f"{len(each)} files" if name.endswith("/") else "")
        for name, each in sizes.items()
    ]
    return [f"files: {size_of(sum(story['files'].values()))}", *aligned(rows)]


def size_of(count: int) -> str:
    """Bytes in a unit that reads well."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
