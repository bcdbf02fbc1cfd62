"""A stage carried out from first to last on a handful of pictures, with one step of everything."""

from __future__ import annotations

import copy
import io
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from milr.data.catalogues import thinned
from milr.data.records import Catalogue, Record
from milr.data.split import split_of
from milr.runs.folder import open_run
from milr.runs.inherit import fit_settings_of
from milr.runs.sources import SourceRun
from milr.settings.stages import spoken
from milr.stages.job import Work, first_entries

SHORT = {  # settings with which a stage does one step of everything
    "train.validation_episodes": 1,
    "test.episodes": 2,
    "milr.steps": 1,
    "milr.validation_episodes": 1,
    "visualize.episodes": 1,
    "evaluate.episodes": 1,
    "evaluate.baselines": [],
    "sanity.checks": ["estimator", "labels"],  # the latter is a refit without looks at the validation episodes
    "sanity.steps": 1,
    "sanity.estimator_steps": 1,
}


def one_step(settings: Any, stage: str, source: SourceRun | None, work: Work) -> str:
    """The stage itself, from first to last, on the pictures of a few classes, in a folder that is thrown away."""
    short = shortened(settings)
    classes, pictures = (max(pair) for pair in zip(episode_size(settings, source), tested_size(settings), strict=True))
    started = time.perf_counter()
    entries = first_entries(short, stage, source)
    with (
        tempfile.TemporaryDirectory(prefix="milr-check-") as place,
        quiet(),
        thinned(lambda catalogue: few(catalogue, classes, pictures)),
        open_run(Path(place), stage, "check", entries) as run,
    ):
        work(short, run)
    seconds = time.perf_counter() - started
    return f"{spoken(stage)} on {classes} classes a split, {seconds:.1f} s"


def tested_size(settings: Any) -> tuple[int, int]:
    """Classes of an episode that is not trained on, and pictures of each."""
    asked = getattr(settings, "visualize", None)
    return settings.episode.way, settings.episode.shot + (asked.queries if asked else settings.episode.query)


def episode_size(settings: Any, source: SourceRun | None) -> tuple[int, int]:
    """Classes of the largest episode of the stage, and pictures of each."""
    way, pictures = tested_size(settings)
    training = getattr(settings, "train", None) or getattr(settings, "milr", None)
    if hasattr(settings, "sanity") and source:
        training = fit_settings_of(source).milr  # it fits again as the source was fitted
    if training is None:
        return way, pictures
    return training.way or way, settings.episode.shot + (training.query or settings.episode.query)


def shortened(settings: Any) -> Any:
    """A copy of the settings with one step of everything."""
    short = copy.deepcopy(settings)
    for key, value in SHORT.items():
        section, _, name = key.partition(".")
        if hasattr(short, section):
            setattr(getattr(short, section), name, value)
    if hasattr(short, "train"):
        short.train.episodes = min(short.train.episodes, short.train.episodes_per_step)
    return short


def few(catalogue: Catalogue, classes: int, pictures: int) -> Catalogue:
    """Of each split the first classes that have enough pictures, and so many pictures of each."""
    by_class: dict[int, list[Record]] = {}
    for record in catalogue.records:
        by_class.setdefault(record.class_id, []).append(record)
    enough = catalogue.only(key for key, records in by_class.items() if len(records) >= pictures)
    chosen = [key for keys in asdict(split_of(enough)).values() for key in keys[:classes]]
    kept = [record for key in sorted(chosen) for record in by_class[key][:pictures]]
    return replace(catalogue, records=tuple(kept))


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
