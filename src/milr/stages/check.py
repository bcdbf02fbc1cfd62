"""`milr check`: everything a stage needs, tried in a few seconds before hours are spent on it."""

from __future__ import annotations

import copy
import io
import logging
import shutil
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from milr.baselines.choice import missing_packages
from milr.command.entry import run_stage
from milr.data.catalogues import open_catalogue, view
from milr.data.pictures import read_picture
from milr.data.records import Catalogue
from milr.data.split import of_split, require_episodes
from milr.decisions.settings import DecisionSettings
from milr.errors import USER_ERROR, MilrError
from milr.explanation.dataset_decisions import part
from milr.runs.ancestry import ancestors
from milr.runs.disk import disk_errors
from milr.runs.facts import host
from milr.runs.folder import open_run
from milr.runs.inherit import fit_settings_of
from milr.runs.sources import SourceRun
from milr.settings.schema import Evaluate, FitMilr, Interventions
from milr.stages.devices import choose_device
from milr.stages.episodes import decision_of, learned_shape
from milr.stages.job import Job, first_entries
from milr.text import first_line

SAMPLE = 40  # pictures that are opened
LOW_ON_DISK = 2 * 10**9  # bytes on the disk under which a warning is due: a checkpoint of a ResNet-50 takes 0.1 of them


def main(options: Namespace) -> int:
    """`milr check STAGE words`: a line for each check; 0, or 2 if one of them found a problem."""
    problems: list[str] = []

    def check_job(job: Job) -> float:
        """Make every check in place of the run, and keep the names of those that found a problem."""
        settings = job.settings
        data = f"{view(settings.dataset)}, backbone={settings.backbone.name}, " if job.stage.reads_data else ""
        print(f"settings  ok: {data}seed={settings.seed}")
        for name, check in checks_of(job):
            line = outcome(check)
            problems.extend([name] if not line.startswith("ok") else [])
            print(f"{name:<8}  {line}", flush=True)
        return float(len(problems))

    code = run_stage(options.stage, options.words, instead=check_job)
    return code or (USER_ERROR if problems else 0)


def outcome(check: Callable[[], str]) -> str:
    """The line of one check."""
    try:
        with disk_errors():
            return f"ok: {check()}"
    except MilrError as error:
        return f"PROBLEM: {error}"
    except Exception as error:  # a bug, or memory that ran out: to be known before the hours, too
        return f"PROBLEM: {type(error).__name__}: {first_line(error)}"


def checks_of(job: Job) -> Iterator[tuple[str, Callable[[], str]]]:
    """(name, what to do) of every check; each returns what it found, or raises."""
    settings, source = job.settings, job.source
    if source is not None:
        yield "source", lambda: check_source(source)
    if job.stage.reads_data and not getattr(settings, "images", None):
        yield "data", lambda: check_data(open_catalogue(settings.dataset))
        yield "split", lambda: check_split(job)
    yield "device", lambda: check_device(settings.device)
    yield "disk", lambda: check_disk(Path(settings.outputs))
    if isinstance(settings, Evaluate | Interventions):
        section = settings.evaluate if isinstance(settings, Evaluate) else settings.interventions
        yield "methods", lambda: check_baselines(section.baselines)
    yield "one step", lambda: one_step(job)


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


def check_split(job: Job) -> str:
    """Each split that the stage takes episodes from holds enough classes with enough pictures."""
    settings, lines, decision = job.settings, [], explained_by(job)
    for split in job.stage.splits or (settings.dataset.split,):
        if decision.name != "prototypes":
            chosen = part(decision, open_catalogue(settings.dataset), split)
            lines.append(f"{split} {len(chosen.records)} pictures of {len(chosen.class_names)} classes")
            continue
        needed, each = episode_size(settings, job.source) if split == "train" else tested_size(settings)
        catalogue = open_catalogue(settings.dataset)
        require_episodes(catalogue, split, needed, each)
        count = len(of_split(catalogue, split).class_names)
        lines.append(f"{split} {count} classes (an episode takes {needed} with {each} pictures)")
    return ", ".join(lines)


def explained_by(job: Job) -> DecisionSettings:
    """What the stage explains, or its source did."""
    if isinstance(job.settings, FitMilr):
        return job.settings.decision
    if job.source is not None and job.stage.source == "fit_milr":
        return decision_of(job.source)
    return DecisionSettings()


def check_device(device: str) -> str:
    """The device is there and takes a tensor."""
    chosen = choose_device(device)
    torch.zeros(1, device=chosen)
    facts = host(device)
    if chosen.type != "cuda":
        return f"cpu, {facts['threads']} of {facts['cores']} core(s), {facts['instructions']}"
    free, total = torch.cuda.mem_get_info()
    return f"{facts['device']}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"


def check_baselines(baselines: Sequence[str]) -> str:
    """They exist; those are named that would be skipped for want of a package."""
    missing = missing_packages(baselines)
    skipped = [f"without {name}, since {package} is not installed" for name, package in missing.items()]
    return "; ".join([", ".join(name for name in baselines if name not in missing) or "no baselines", *skipped])


def check_disk(outputs: Path) -> str:
    """The outputs folder, or the one it would be made in, takes a file, and has room."""
    place = next(path for path in (outputs.absolute(), *outputs.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            free = shutil.disk_usage(place).free
    except OSError as error:
        raise MilrError(f"cannot write in {place}: {error.strerror}; name another place with outputs=") from error
    if free < LOW_ON_DISK:
        raise MilrError(f"{free / 1e9:.1f} GB free in {place}: make room ({LOW_ON_DISK / 1e9:.0f} GB are wanted)")
    return f"{free / 1e9:.0f} GB free in {place}"


def one_step(job: Job) -> str:
    """The stage itself, from first to last, in a folder that is thrown away: of episodes on the pictures of a few
    classes. What other decisions ask need not be known of the first few."""
    classes = pictures = 0
    if job.stage.reads_data and explained_by(job).name == "prototypes":
        sizes = zip(episode_size(job.settings, job.source), tested_size(job.settings), strict=True)
        classes, pictures = map(max, sizes)
    short = replace(job, settings=shortest_settings(job, classes, pictures))
    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="milr-check-") as place,
        quiet(),
        open_run(Path(place), job.stage.name, "check", first_entries(short)) as run,
    ):
        short.work(run)
    seconds = time.perf_counter() - started
    on = f" on {classes} classes a split" if classes else ""
    return f"{job.stage.cli_name}{on}, {seconds:.1f} s"


def tested_size(settings: Any) -> tuple[int, int]:
    """Classes of an episode that is not trained on, and pictures of each."""
    section = getattr(settings, "visualize", None)
    return settings.episode.way, settings.episode.shot + (section.queries if section else settings.episode.query)


def episode_size(settings: Any, source: SourceRun | None) -> tuple[int, int]:
    """Classes of the largest episode of the stage, and pictures of each."""
    way, pictures = tested_size(settings)
    training = getattr(settings, "train", None) or getattr(settings, "milr", None)
    if hasattr(settings, "sanity") and source:
        training = fit_settings_of(source).milr  # it fits again as the source was fitted
    if training is None:
        return way, pictures
    way, shot, query = learned_shape(training, settings.episode)
    return way, shot + query


def shortest_settings(job: Job, classes: int, pictures: int) -> Any:
    """A copy of the settings with one step of everything, on so many classes and pictures, which leaves no cache."""
    short = copy.deepcopy(job.settings)
    short.dataset.classes, short.dataset.pictures = classes, pictures
    if hasattr(short, "cache"):
        short.cache = None
    for key, value in job.stage.one_step.items():
        section, _, name = key.partition(".")
        setattr(getattr(short, section), name, value)
    return short


@contextmanager
def quiet() -> Iterator[None]:
    """Neither progress bars nor what a stage reports; only the warnings of the body come through."""
    log = logging.getLogger("milr")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        log.setLevel(level)
