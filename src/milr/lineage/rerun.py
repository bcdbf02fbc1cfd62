"""`milr rerun`: a run repeated into a new folder from its saved settings, and compared with what it was."""

from __future__ import annotations

import json
import logging
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from milr.console import console
from milr.errors import MilrError
from milr.lineage.differences import new_keys
from milr.runs.ancestry import ancestors, data_problem
from milr.runs.facts import git_state, host, versions
from milr.runs.find import RunInfo, named_run, read_run
from milr.runs.folder import CONFIG, FINISHED
from milr.runs.interrupts import terminable
from milr.runs.manifests import read_config
from milr.runs.sources import find_source
from milr.settings.saved import settings_from
from milr.settings.stages import STAGES
from milr.stages.job import Job, open_job

DIFFERS = "DIFFERS"
TIMES = ("seconds", "time")  # endings of names in metrics.jsonl that no two runs share

log = logging.getLogger("milr")


def main(options: Namespace) -> int:
    """`milr rerun`: 0, or 1 where the new run came out otherwise than the old."""
    return rerun(options.outputs if options.named else None, options.run)


def rerun(outputs: Path | None, word: str) -> int:
    """Repeats the run that `word` means from its saved settings, and compares.

    outputs: where runs are looked for and where the new one goes; None: ./outputs, and the place of the run.
    Errors: MilrError if the run cannot be repeated: no settings, or a parent that is gone or no longer the same.
    """
    run = named_run(outputs or Path("outputs"), word)
    if run.problem:
        raise MilrError(run.problem)
    stage, config = STAGES[run.stage], read_config(run.folder)
    refuse_changed(run)
    place = outputs or place_of(run, config)
    settings = settings_from(stage.settings, {**config, "outputs": str(place.absolute())}, run.folder / CONFIG)
    for warning in warnings_of(run, config):
        print(f"warning: {warning}", flush=True)
    source = find_source(place, stage.source, str(config["source"])) if stage.source else None
    print(f"repeating {run.folder}", flush=True)
    job = Job(stage, settings, source, ("rerun", str(run.folder)), repeats=run.folder)
    with console(), terminable(), open_job(job) as new:
        new.record(objective=job.work(new))
    lines = comparison(run, read_run(new.folder))
    print("\n".join(lines))
    return int(any(line.endswith(DIFFERS) for line in lines))


def refuse_changed(run: RunInfo) -> None:
    """MilrError for the first thing the run was made from that is gone or not the same any more."""
    for ancestor in ancestors(run.folder, run.manifest):
        if ancestor.problem:
            where = ancestor.folder / ancestor.checkpoint
            raise MilrError(f"{run.folder} cannot be repeated: it was made from {where}, and {ancestor.problem}")


def warnings_of(run: RunInfo, config: Mapping[str, Any]) -> list[str]:
    """What may make the repetition come out otherwise."""
    warnings = []
    for name, now in (("versions", versions()), ("host", host(str(config.get("device", "auto"))))):
        then = run.manifest.get(name)
        if not isinstance(then, Mapping):
            warnings.append(f"the run does not tell its {name}: whether they are the same is not known")
            continue
        warnings += [f"{key} was {then[key]}, now {now[key]}" for key in now if key in then and then[key] != now[key]]
    warnings += git_warnings(run.manifest.get("git"), git_state())
    if problem := data_problem(run.manifest, config):
        warnings.append(f"the data set {config['dataset']['root']}: {problem}")
    warnings += [f"{key} was no setting then: its default is taken" for key in new_keys(run.stage, config)]
    return warnings


def git_warnings(then: Any, now: Mapping[str, Any] | None) -> list[str]:
    """What differs between the code of then and the code of now."""
    if not isinstance(then, Mapping) or now is None:
        return [] if then is None and now is None else ["the commit of one of the two runs is not known"]
    if then["commit"] != now["commit"]:
        return [f"the commit was {then['commit'][:12]}, now {now['commit'][:12]}"]
    if then.get("changes_sha256") != now["changes_sha256"] or then["dirty"] != now["dirty"]:
        return ["the checkout has other changes than it had then, which no commit holds"]
    return []


def place_of(run: RunInfo, config: Mapping[str, Any]) -> Path:
    """The outputs folder that the run lies in; for one in a sweep or elsewhere, the one its settings name."""
    return run.folder.parent.parent if run.folder.parent.name == run.stage else Path(str(config.get("outputs")))


def comparison(old: RunInfo, new: RunInfo) -> list[str]:
    """One line for each thing that can be compared; the old run must have ended well for that."""
    lines = [f"repeated as {new.folder}"]
    if old.state != FINISHED:
        return [*lines, f"nothing to compare: the state of {old.folder.name} is {old.state!r}"]
    pairs = {"result": (old.manifest.get("result"), new.manifest.get("result"))}
    checkpoints = [(run.manifest.get("checkpoint") or {}).get("sha256") for run in (old, new)]
    if any(checkpoints):
        pairs["checkpoint"] = (checkpoints[0], checkpoints[1])
    pairs["metrics.jsonl"] = (metrics_of(old.folder), metrics_of(new.folder))
    return [*lines, *(f"  {what}: {'the same' if one == other else DIFFERS}" for what, (one, other) in pairs.items())]


def metrics_of(folder: Path) -> list[Any]:
    """The lines of metrics.jsonl without the times; none where it is missing or broken."""
    try:
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return []
    return [{key: value for key, value in line.items() if not key.endswith(TIMES)} for line in lines]
