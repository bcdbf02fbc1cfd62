"""The next steps that a report names, as whole commands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from milr.runs.find import RunInfo
from milr.runs.manifests import parent_folder
from milr.settings.stages import cli_name

DEFAULT = "outputs"


def outputs_of(folder: Path, stage: str) -> Path | None:
    """The folder of runs that a run of a stage lies in, alone or within a sweep; None where it was put elsewhere."""
    above = folder.parents
    if above[0].name == stage:
        return above[1]
    return above[2] if above[1].name == f"{stage}_sweeps" else None


def outputs_word(run: RunInfo) -> list[str]:
    """ "outputs=..." for what shall lie beside a run; nothing where a command puts it there by itself."""
    place = outputs_of(run.folder, run.stage)
    return [] if place is None or place == Path(DEFAULT).absolute() else [f"outputs={place}"]


def next_step(stage: str, fit: RunInfo) -> str:
    """The command of a stage that goes on from a fit; of calibrate, which goes on from none."""
    source = [] if stage == "calibrate" else [f"source={fit.folder}"]
    return shlex.join(["milr", cli_name(stage), *source, *outputs_word(fit)])


def fit_again(fit: RunInfo, changed: Mapping[str, object]) -> list[str]:
    """The fit as it was typed, with other settings; then what draws its maps, measures them and reports on them."""
    typed = shlex.split(str(fit.manifest.get("command") or ""))[2:]
    parent = fit.manifest.get("parent")
    source = [f"source={parent_folder(fit.folder, parent)}"] if isinstance(parent, Mapping) else ["source=none"]
    left_out = {"source", "outputs", "resume", *changed}
    kept = [word for word in typed if word.partition("=")[0] not in left_out]
    settings = [f"{key}={value}" for key, value in changed.items()]
    place = outputs_word(fit)
    return [
        shlex.join(["milr", "fit-milr", *source, *kept, *settings, *place]),
        *(shlex.join(["milr", stage, "source=latest", *place]) for stage in ("visualize", "evaluate")),
        shlex.join(["milr", "report", "latest", *place]),
    ]
