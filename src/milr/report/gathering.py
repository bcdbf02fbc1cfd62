"""The runs that a report is about: each fit, and the newest of what was made from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from milr.errors import MilrError
from milr.report.steps import outputs_of
from milr.runs.find import RunInfo, find_runs, named_run, newest, read_run
from milr.runs.folder import FINISHED
from milr.runs.manifests import parent_folder
from milr.settings.stages import cli_name

FIT, CALIBRATE, TEST = "fit_milr", "calibrate", "test_protonet"
FOLLOWERS = ("visualize", "evaluate", "sanity")  # what goes on from a fit


@dataclass(frozen=True)
class Subject:
    """A fit with what is known of its maps."""

    fit: RunInfo
    followers: Mapping[str, RunInfo]  # of FOLLOWERS those that there are
    name: str  # of the fit's folder; its whole path where two fits have the same
    test: RunInfo | None = None  # the newest of test-protonet of the network that was fitted

    @property
    def runs(self) -> list[RunInfo]:
        """The fit and its followers."""
        return [self.fit, *self.followers.values()]

    @property
    def network(self) -> RunInfo | None:
        """The run that trained the network, where one did and can be read."""
        parent = self.fit.manifest.get("parent")
        run = read_run(parent_folder(self.fit.folder, parent)) if isinstance(parent, Mapping) else None
        return run if run and not run.problem else None


@dataclass(frozen=True)
class Gathered:
    """What a report of single runs is about."""

    subjects: Sequence[Subject]
    calibration: RunInfo | None


def gather(words: Sequence[str], outputs: Path) -> Gathered:
    """The fits that the words mean, each once. A word may name what was made from a fit: then that is shown of it.

    MilrError for a run of another stage, one that is not finished, or a fit whose maps were not drawn.
    """
    fits: dict[Path, RunInfo] = {}
    named: dict[Path, dict[str, RunInfo]] = {}
    calibration = None
    for word in words:
        run = finished_run(word, outputs)
        if run.stage == CALIBRATE:
            calibration = run
            continue
        fit = fit_of(run)
        fits.setdefault(fit.folder, fit)
        named.setdefault(fit.folder, {})[run.stage] = run
    if not fits:
        raise MilrError("a calibration alone has no maps: name a run of fit-milr too")
    places = [outputs, *(place for fit in fits.values() if (place := outputs_of(fit.folder, fit.stage)))]
    runs = {run.folder: run for place in places if place.is_dir() for run in find_runs(place)}
    several = Counter(fit.folder.name for fit in fits.values())
    subjects = [
        subject_of(fit, named[folder], runs.values(), folder.name if several[folder.name] == 1 else str(folder))
        for folder, fit in fits.items()
    ]
    return Gathered(subjects, calibration or newest(run for run in runs.values() if run.stage == CALIBRATE))


def finished_run(word: str, outputs: Path) -> RunInfo:
    """The run that a word means; `latest` is the one that ended last of those that a report can be about."""
    if word == "latest":
        run = newest(run for run in find_runs(outputs) if run.stage in (FIT, *FOLLOWERS))
        if run is None:
            raise MilrError(f"{outputs} holds no finished run of {', '.join(map(cli_name, (FIT, *FOLLOWERS)))}")
        return run
    run = named_run(outputs, word)
    if run.problem:
        raise MilrError(run.problem)
    if run.state != FINISHED:
        raise MilrError(f"the run {run.folder} is not finished (its state is {run.state!r}): name another")
    return run


def fit_of(run: RunInfo) -> RunInfo:
    """The fit that a run is, or goes on from. MilrError for a run of another stage, or a fit that is gone."""
    if run.stage == FIT:
        return run
    parent = run.manifest.get("parent")
    if run.stage not in FOLLOWERS or not isinstance(parent, Mapping):
        raise MilrError(
            f"{run.folder} is a run of {cli_name(run.stage)}: name one of fit-milr, or of what goes on from it "
            f"({', '.join(FOLLOWERS)})"
        )
    fit = read_run(parent_folder(run.folder, parent))
    if fit.problem:
        raise MilrError(f"the fit that {run.folder} goes on from: {fit.problem}")
    return fit


def subject_of(fit: RunInfo, named: Mapping[str, RunInfo], runs: Collection[RunInfo], name: str) -> Subject:
    """A fit with its followers: those that were named, else the newest of each stage."""
    children = [run for run in runs if run.stage in FOLLOWERS and is_child(run, fit)]
    chosen = {stage: named.get(stage) or newest(run for run in children if run.stage == stage) for stage in FOLLOWERS}
    if chosen["visualize"] is None:
        raise MilrError(f"no maps of {fit.folder} are drawn yet: `milr visualize source={fit.folder}` first")
    subject = Subject(fit, {stage: run for stage, run in chosen.items() if run}, name)
    if (network := subject.network) is None:
        return subject
    return replace(subject, test=newest(run for run in runs if run.stage == TEST and is_child(run, network)))


def is_child(run: RunInfo, source: RunInfo) -> bool:
    """Whether a run goes on from this one."""
    parent = run.manifest.get("parent")
    if not isinstance(parent, Mapping) or not {"folder", "stage"} <= parent.keys():
        return False
    return parent_folder(run.folder, parent).absolute() == source.folder
