"""What every stage does around its own work: read the settings, open the run folder, go on from a source.

A stage's module holds its work and nothing of this; its row in `milr/settings/stages.py` names it (CONTRIBUTING.md has
an example). The manifest's `data` and `split` are for the stage to record, `milr.data.catalogues` has both; everything
else that is known from the settings or the source is there already.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from milr import __version__
from milr.backbones.backbones import pictures_taken
from milr.backbones.settings import NO_FILE, BackboneSettings
from milr.command.mistakes import unknown_key
from milr.command.values import check_names, check_paths
from milr.console import console
from milr.data.settings import DatasetSettings
from milr.errors import MilrError
from milr.fields import check, leaves, load, pick
from milr.files import sha256_of, write_atomically
from milr.runs.disk import disk_errors
from milr.runs.facts import git_state, host, versions
from milr.runs.folder import CONFIG, Run, open_run, timestamp
from milr.runs.inherit import inherit
from milr.runs.interrupts import terminable
from milr.runs.manifests import is_done, read_config
from milr.runs.processes import launched_rank
from milr.runs.resume import reopen_run, require_same_parent, run_to_resume, settings_to_resume
from milr.runs.sources import SourceRun, find_source
from milr.settings.paths import here, home
from milr.settings.schema import Evaluate, FitMilr, TrainProtonet
from milr.settings.sections import TrainSection
from milr.settings.stages import STAGES, Stage, cli_name
from milr.stages.devices import divide_threads, memory_errors
from milr.sweeps.folders import in_sweep, job_folder, overrides_as_typed
from milr.sweeps.jobs import folder_to_go_on, objective_of

log = logging.getLogger("milr")

NETWORK = ("backbone", "episode", "metric")  # sections of the settings that the manifest has too


@dataclass(frozen=True)
class Job:
    """One job: its settings are checked, and its source is found."""

    stage: Stage
    settings: Any  # stage.settings
    source: SourceRun | None
    command: tuple[str, ...]  # the words after `milr`, for the manifest
    resumed: Path | None = None  # the folder of the run to go on with
    repeats: Path | None = None  # the folder of the run that this one repeats

    def work(self, run: Run) -> float:
        """The stage's own part."""
        given = (self.settings, run) if self.source is None else (self.settings, run, self.source)
        with memory_errors():
            objective: float = load(self.stage.work)(*given)
        return objective


def run_job(cfg: DictConfig, stage: Stage, instead: Callable[[Job], float] | None = None) -> float:
    """The objective of the job that Hydra made these settings for. instead: done with it in place of the work."""
    if launched_rank() > 0:  # one of torchrun's processes: the first alone writes and tells
        return float(load(str(stage.helper))(typed_settings(cfg, stage)))
    with console(), terminable(), disk_errors():
        if not stage.makes_run:
            return float(load(stage.work)(typed_settings(cfg, stage)))
        if not instead:
            return carry_out(job_of(cfg, stage))
        with TemporaryDirectory(prefix="milr-check-") as scratch:
            return instead(job_of(cfg, stage, Path(scratch)))


def job_of(cfg: DictConfig, stage: Stage, scratch: Path | None = None) -> Job:
    """The job from what Hydra composed. Errors: MilrError for settings, a source or a run to resume that is wrong.

    scratch: where a source is made that is to be thrown away; None: among the outputs.
    """
    resume = str(cfg.get("resume") or "")
    folder = run_to_resume(Path(home(str(cfg.outputs))), stage.name, resume) if resume else None
    if folder and stage.source and OmegaConf.is_missing(cfg, "source"):
        cfg.source = read_config(folder)["source"]
    settings, source, typed = typed_settings(cfg, stage), None, command_overrides()
    if stage.source:
        if settings.source == "none":
            source = untrained_source(settings, stage, typed, scratch or Path(settings.outputs))
        else:
            source = find_source(Path(settings.outputs), stage.source, settings.source)
        settings = replace(inherit(settings, source, typed, stage.free), source=str(source.folder))
        if isinstance(settings, FitMilr) and settings.backbone.source == "milr":  # of one's own the layers are known
            layers = settings.layers
            named = replace(layers, local=layers.local or "layer1", z=layers.z or "avgpool")
            settings = replace(settings, layers=named)
    if folder:
        settings = settings_to_resume(settings, folder, typed)
    check(settings)
    return Job(stage, settings, source, (stage.cli_name, *typed), folder)


def untrained_source(settings: Any, stage: Stage, typed: list[str], outputs: Path) -> SourceRun:
    """A run of train-protonet over no episodes, for a stage that takes the network as it is (source=none).

    Errors: MilrError for a stage that needs more than a network.
    """
    train = STAGES["train_protonet"]
    if stage.source != train.name:
        raise MilrError(f"source=none: {stage.cli_name} goes on from a run of {cli_name(stage.source)}: name one")
    own = pick(
        TrainProtonet, settings, outputs=str(outputs), train=TrainSection(episodes=0, validation_episodes=0), resume=""
    )
    job = Job(train, own, None, (stage.cli_name, *typed))
    log.info("source=none: the network is taken as it is, by a training of no episodes, whose run is the source")
    with open_job(job) as run:
        job.work(run)
    return find_source(outputs, train.name, str(run.folder))


def carry_out(job: Job) -> float:
    """Do the work in its run folder, and keep the objective there; a sweep's job that is done already is skipped."""
    if in_sweep():
        folder = folder_to_go_on(job_folder(), job.settings, job.source)
        if folder and is_done(folder):
            log.info("skipped, since it is done: %s", folder)
            return objective_of(folder)
        job = replace(job, resumed=folder)
        divide_threads()
    with open_job(job) as run:
        objective = job.work(run)
        run.record(objective=objective)
    return objective


@contextmanager
def open_job(job: Job) -> Iterator[Run]:
    """The run folder of a job, with its config and everything its manifest can say beforehand; or a resumed one."""
    stage = job.stage
    if job.resumed:
        with reopen_run(job.resumed, **this_session(job)) as run:
            if job.source:
                require_same_parent(run.manifest, job.source)
            log.info("%s, resumed: %s", stage.cli_name, run.folder)
            yield run
        return
    folder = job_folder() if in_sweep() else Path(job.settings.outputs, stage.name, timestamp())
    with open_run(folder.parent, stage.name, folder.name, first_entries(job)) as run:
        text = OmegaConf.to_yaml(OmegaConf.structured(job.settings))
        run.promise(CONFIG, *(name.format(format=getattr(job.settings, "format", "")) for name in stage.files))
        write_atomically(run.path(CONFIG), lambda file: file.write(text.encode()))
        log.info("%s: %s", stage.cli_name, run.folder)
        yield run


def typed_settings(cfg: DictConfig, stage: Stage) -> Any:
    """The settings as a dataclass, their paths made absolute: a later stage may be called from another folder."""
    settings: Any = OmegaConf.to_object(cfg)
    known = {key for key, _ in leaves(settings)}
    for key, _ in leaves(OmegaConf.to_container(cfg)):
        if key not in known:  # added with a +, which Hydra lets past the schema
            raise MilrError(unknown_key(key, stage, command_overrides()))
    if not isinstance(settings, stage.settings):
        raise MilrError(f"the config is not one of {stage.cli_name}: leave --config-name out")
    check_paths(settings)
    check_names(settings)
    check(settings)
    settings.outputs = home(settings.outputs)
    settings.dataset.root = here(settings.dataset.root)
    if hasattr(settings, "backbone"):
        settings.backbone, settings.dataset = known_network(settings.backbone, settings.dataset)
    if isinstance(settings, Evaluate):
        settings.evaluate.sources = [here(path) for path in settings.evaluate.sources]
    if hasattr(settings, "images"):
        settings.images = [here(path) for path in settings.images]
    return settings


def known_network(backbone: BackboneSettings, dataset: DatasetSettings) -> tuple[BackboneSettings, DatasetSettings]:
    """Both with the network's own size, mean and std where they are left open (milr's own: ImageNet's), absolute paths.

    Errors: MilrError for a network that its source does not have.
    """
    if backbone.weights not in NO_FILE:
        backbone = replace(backbone, weights=here(backbone.weights))
    if backbone.source == "transformers" and Path(home(backbone.name)).is_dir():
        backbone = replace(backbone, name=here(backbone.name))
    size, own = pictures_taken(backbone, dataset.size)
    if backbone.source != "milr":
        backbone = replace(backbone, mean=list(own.mean), std=list(own.std))
    return backbone, replace(dataset, size=size)


def first_entries(job: Job) -> Mapping[str, Any]:
    """The manifest's entries that are known before the work begins."""
    settings, source = job.settings, job.source
    return {
        **this_session(job),
        "seed": settings.seed,
        "repeats": str(job.repeats) if job.repeats else None,
        "parent": source.as_parent() if source else None,
        "weights": None if source or not job.stage.reads_data else weights_entry(settings.backbone),
        **{name: asdict(getattr(settings, name)) for name in NETWORK if hasattr(settings, name)},
        "settings": asdict(settings),  # all of them: config.yaml may be edited later
        **dict.fromkeys(("data", "split", "result", "checkpoint")),
    }


def weights_entry(backbone: BackboneSettings) -> dict[str, str] | None:
    """The manifest's `weights`: the user's file of first weights, with its sha256; None where there is none."""
    file = Path(backbone.weights)
    return {"file": str(file), "sha256": sha256_of(file)} if file.is_absolute() and file.is_file() else None


def this_session(job: Job) -> dict[str, Any]:
    """By what command, with what software and on what machine a run is begun or resumed."""
    return {
        "milr": __version__,
        "command": shlex.join(["milr", *job.command]),
        "versions": versions(),
        "git": git_state(),
        "host": host(job.settings.device),
    }


def command_overrides() -> list[str]:
    """This job's own overrides as they were typed (in a sweep: the job's, one value each), without Hydra's."""
    return overrides_as_typed(HydraConfig.get()) if HydraConfig.initialized() else []
