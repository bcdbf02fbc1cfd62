"""`milr check`: everything a stage needs, tried in a few seconds before hours are spent on it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from milr.data.catalogues import open_catalogue, view
from milr.data.pictures import read_picture
from milr.data.records import Catalogue
from milr.data.split import of_split, require_episodes
from milr.errors import MENDABLE, MilrError
from milr.runs.ancestry import ancestors
from milr.runs.disk import disk_errors
from milr.runs.facts import host
from milr.runs.sources import SourceRun
from milr.settings.schema import NetworkStageSettings
from milr.stages.devices import choose_device
from milr.stages.job import REHEARSAL, Work, stage_of
from milr.stages.rehearsal import episode_size, one_step, tested_size

SAMPLE = 40  # pictures that are opened
FREE = 2 * 10**9  # bytes on the disk under which a warning is due: a checkpoint of a ResNet-50 takes 0.1 of them
SPLITS = {"train_protonet": ("train", "validation"), "fit_milr": ("train", "validation", "novel"),
          "sanity": ("train", "validation", "novel")}  # fmt: skip


def check(stage: str, words: list[str], run_stage: Callable[[str, list[str]], int]) -> int:
    """Checks what `milr <stage> <words>` would do, a line each, and returns 0, or 2 if one of them found a problem.

    `run_stage(stage, words)` reads the settings; what is wrong with those, or with the source, it says itself.
    """
    problems: list[str] = []

    def rehearse(settings: Any, source: SourceRun | None, work: Work) -> float:
        """Make every check in place of the run, and keep the names of those that found a problem."""
        print(f"settings  ok: {view(settings.dataset)}, backbone={settings.backbone.name}, seed={settings.seed}")
        for name, look in checks_of(settings, source, work):
            line = outcome(look)
            problems.extend([name] if not line.startswith("ok") else [])
            print(f"{name:<8}  {line}", flush=True)
        return float(len(problems))

    token = REHEARSAL.set(rehearse)
    try:
        code = run_stage(stage, words)
    finally:
        REHEARSAL.reset(token)
    return code or (MENDABLE if problems else 0)


def outcome(look: Callable[[], str]) -> str:
    """The line of one check."""
    try:
        with disk_errors():
            return f"ok: {look()}"
    except MilrError as error:
        return f"PROBLEM: {error}"
    except Exception as error:  # a bug, or memory that ran out: to be known before the hours, too
        return f"PROBLEM: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def checks_of(settings: Any, source: SourceRun | None, work: Work) -> Iterator[tuple[str, Callable[[], str]]]:
    """(name, what to do) of every check; each returns what it found, or raises."""
    stage = stage_of(type(settings))
    if source is not None:
        yield "source", lambda: check_source(source)
    if not getattr(settings, "images", None):
        yield "data", lambda: check_data(open_catalogue(settings.dataset))
        yield "split", lambda: check_split(settings, stage, source)
    yield "device", lambda: check_device(settings.device)
    yield "disk", lambda: check_disk(Path(settings.outputs))
    yield "one step", lambda: one_step(settings, stage, source, work)


def check_source(source: SourceRun) -> str:
    """Every run behind the source has the checkpoint that was recorded; the source's own was verified already."""
    line = ancestors(source.folder, source.manifest)
    for ancestor in line:
        if ancestor.problem:
            raise MilrError(
                f"{ancestor.folder / ancestor.checkpoint}, from which the source was made: {ancestor.problem}"
            )
    return (
        f"{source.checkpoint}, sha256 {source.manifest['checkpoint']['sha256'][:12]}; {len(line)} parent(s), unchanged"
    )


def check_data(catalogue: Catalogue) -> str:
    """The index, and a sample of the pictures spread over it."""
    sample = catalogue.records[:: max(1, len(catalogue.records) // SAMPLE)][:SAMPLE]
    for record in sample:
        read_picture(record.path)
    count = f"{len(catalogue.records)} pictures of {len(catalogue.class_names)} classes"
    return f"{count} in {catalogue.root}; {len(sample)} of them opened"


def check_split(settings: NetworkStageSettings, stage: str, source: SourceRun | None) -> str:
    """Each split that the stage takes episodes from holds enough classes with enough pictures."""
    found = []
    for split in SPLITS.get(stage, (settings.dataset.split,)):
        needed, each = episode_size(settings, source) if split == "train" else tested_size(settings)
        catalogue = open_catalogue(settings.dataset)
        require_episodes(catalogue, split, needed, each)
        count = len(of_split(catalogue, split).class_names)
        found.append(f"{split} {count} classes (an episode takes {needed} with {each} pictures)")
    return ", ".join(found)


def check_device(device: str) -> str:
    """The device is there and takes a tensor."""
    chosen = choose_device(device)
    torch.zeros(1, device=chosen)
    facts = host(device)
    if chosen.type != "cuda":
        return f"cpu, {facts['threads']} of {facts['cores']} core(s), {facts['instructions']}"
    free, total = torch.cuda.mem_get_info()
    return f"{facts['device']}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"


def check_disk(outputs: Path) -> str:
    """The outputs folder, or the one it would be made in, takes a file, and has room."""
    place = next(path for path in (outputs.absolute(), *outputs.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            free = shutil.disk_usage(place).free
    except OSError as error:
        raise MilrError(f"cannot write in {place}: {error.strerror}; name another place with outputs=") from error
    if free < FREE:
        raise MilrError(f"{free / 1e9:.1f} GB free in {place}: make room ({FREE / 1e9:.0f} GB are wanted)")
    return f"{free / 1e9:.0f} GB free in {place}"
