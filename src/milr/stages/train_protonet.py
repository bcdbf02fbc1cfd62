"""`milr train-protonet`: train a prototypical network, episode by episode."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import nan
from pathlib import Path

import torch
from torch import nn

from milr.backbones.backbones import build_network, origin_of
from milr.backbones.origins import Origin
from milr.backbones.protonet import PrototypicalNetwork, represent
from milr.bars import bar as progress_bar
from milr.data.augmentation import augmentation_of
from milr.data.catalogues import data_entry, split_entry, view
from milr.data.episodes import draw_episodes
from milr.data.loading import load_splits
from milr.data.pictures import Pictures
from milr.data.records import Catalogue
from milr.errors import MilrError
from milr.evaluation.accuracy import episode_accuracies
from milr.fields import pick
from milr.networks.settings import MetricSettings
from milr.runs.checkpoints import save_checkpoint
from milr.runs.folder import Run
from milr.runs.processes import launched_processes
from milr.runs.states import saved_states
from milr.seeding import seeded
from milr.settings.schema import TrainProtonet
from milr.settings.sections import TrainSection
from milr.stages.boards import board
from milr.stages.devices import choose_device
from milr.stages.episodes import learned_shape, needed_pictures
from milr.training.continuation import Continuation
from milr.training.distributed import first_before_others, process_group
from milr.training.episodes import EpisodicTask
from milr.training.selection import Trained
from milr.training.settings import Training
from milr.training.training import Step, steps_of, train_prototypical

log = logging.getLogger("milr")

SPLITS = ("train", "validation")
BEST = "best.pt"
BATCH = 64  # pictures that go through the network at once where no episode says otherwise


def train_protonet(settings: TrainProtonet, run: Run) -> float:
    """Returns the accuracy on the validation classes of the network that was saved; NaN where none was measured."""
    device = choose_device(settings.device)
    require_validation(settings.train)
    with process_group(device):
        with first_before_others():
            origin, network = first_network(settings, device)  # before the pictures, which take long to read
            catalogue, pictures = load(settings, origin)
        split = split_entry(catalogue)
        run.record_data(data_entry(settings.dataset, catalogue), split)
        require_as_many_processes(run)
        best = BestNetwork(run.path(BEST), network, origin, settings.metric, tuple(split["train"]), pictures["train"])
        if not settings.train.validation_episodes:
            network.eval()
            best.save()
            run.record_checkpoint(BEST)
            run.metrics(split="validation", step=0, accuracy=None)  # not measured
            run.record(result={"step": 0})
            return nan
        with (
            saved_states(run, settings.train.save_every) as continuation,
            board(run, settings.logger, continuation.done),
            progress(run, training_of(settings), settings.train.log_every, continuation) as on_step,
        ):
            on_validation = partial(record_validation, run, best)
            trained = train(settings, network, pictures, on_step, on_validation, continuation)
    if continuation.state or trained.share < 1:
        best.save()  # the file may be of a later step than the one that the run was resumed from
    run.record_checkpoint(BEST)
    run.record(result={"validation_accuracy": trained.accuracy, "step": trained.step, "share": trained.share})
    shape = f"{settings.episode.way}-way {settings.episode.shot}-shot, validation split, {view(settings.dataset)}"
    way = "" if trained.share == 1 else f", {trained.share:.0%} of the way to it from the first weights"
    log.info("kept step %d%s: accuracy %.3f (%s)", trained.step, way, trained.accuracy, shape)
    return trained.accuracy


@dataclass(frozen=True)
class BestNetwork:
    """The file of the best network so far, and what belongs into it.

    Attributes:
        classes: that it is trained on.
        pictures: theirs.
    """

    path: Path
    network: nn.Module
    origin: Origin
    metric: MetricSettings
    classes: tuple[str, ...]
    pictures: Pictures

    def save(self) -> None:
        """Writes the network as it is now, with what it needs to compare pictures."""
        # Only a centring metric needs the mean, and it costs a pass over all training pictures.
        inputs = self.pictures.batches(next(self.network.parameters()).device, BATCH)
        batches = inputs if self.metric.centre else [next(inputs)[:1]]
        mean = represent(self.network, batches).mean(0).cpu() * self.metric.centre
        whole = PrototypicalNetwork(self.origin, self.network, self.metric, mean, self.classes)
        save_checkpoint(self.path, {"kind": "protonet", **whole.state()})


def record_validation(run: Run, network: BestNetwork, step: int, accuracy: float, best: bool) -> None:
    """A line of metrics and of the log; the best network is saved."""
    run.metrics(split="validation", step=step, accuracy=accuracy)
    log.info("step %d: %.3f on validation classes%s", step, accuracy, " (the best so far)" if best else "")
    if best:
        network.save()


def episodes_of(settings: TrainProtonet) -> dict[str, tuple[int, int]]:
    """Of each split that episodes are drawn from, the classes of an episode and the pictures of each."""
    needs = needed_pictures(settings.train, settings.episode)
    wanted = {"train": settings.train.episodes, "validation": settings.train.validation_episodes}
    return {split: needs[split] for split in SPLITS if wanted[split]}


def require_validation(section: TrainSection) -> None:
    """MilrError for a training that could not tell which of its networks is the best."""
    if section.episodes and not section.validation_episodes:
        raise MilrError("train.validation_episodes=0: only with train.episodes=0, which takes the network as it is")


def require_as_many_processes(run: Run) -> None:
    """Record how many processes train. MilrError for a resumed run that was begun by others: its steps were others."""
    begun = run.manifest.get("processes", launched_processes())
    if begun != launched_processes():
        raise MilrError(
            f"the run {run.folder} was begun by {begun} processes of torchrun, whose steps are not those of "
            f"{launched_processes()}: a training of several processes cannot be resumed yet, start a new run"
        )
    run.record(processes=begun)


def help_to_train(settings: TrainProtonet) -> float:
    """What every process of torchrun's but the first does: the same training on episodes of its own, writing nothing.

    Returns the accuracy that the first one measured.
    """
    device = choose_device(settings.device)
    with process_group(device):
        with first_before_others():
            origin, network = first_network(settings, device)
            _, pictures = load(settings, origin)
        return train(settings, network, pictures).accuracy


def train(
    settings: TrainProtonet,
    network: nn.Module,
    pictures: dict[str, Pictures],
    on_step: Callable[[Step], None] | None = None,
    on_validation: Callable[[int, float, bool], None] | None = None,
    continuation: Continuation | None = None,
) -> Trained:
    """The training itself, the same in every process; the network's device is the one it happens on."""
    device, metric = next(network.parameters()).device, settings.metric
    validate = validation(settings, pictures["validation"], metric, device)
    task = EpisodicTask(pictures["train"], metric, augmentation_of(settings.augmentation))
    training = training_of(settings)
    return train_prototypical(network, task, training, validate, on_step, on_validation, continuation)


def first_network(settings: TrainProtonet, device: torch.device) -> tuple[Origin, nn.Module]:
    """The network before the training: its weights from a file or its source, or drawn from the seed."""
    origin = origin_of(settings.backbone, settings.dataset.size)
    with seeded(settings.seed):
        return origin, build_network(origin, settings.backbone.weights).to(device)


def load(settings: TrainProtonet, origin: Origin) -> tuple[Catalogue, dict[str, Pictures]]:
    """The catalogue, and the pictures as the network takes them."""
    splits = SPLITS if settings.train.validation_episodes else SPLITS[:1]
    return load_splits(settings.dataset, settings.cache, splits, episodes_of(settings), origin.normalisation)


def training_of(settings: TrainProtonet) -> Training:
    """The training's own settings from the stage's."""
    way, shot, query = learned_shape(settings.train, settings.episode)
    return pick(Training, settings.train, way=way, shot=shot, query=query, seed=settings.seed)


def validation(
    settings: TrainProtonet, pictures: Pictures, metric: MetricSettings, device: torch.device
) -> Callable[[nn.Module], float]:
    """The accuracy over the same episodes of the validation classes at every validation."""
    episode = settings.episode
    numbers = range(settings.train.validation_episodes)
    episodes = draw_episodes(pictures.labels, episode.way, episode.shot, episode.query, "validation", numbers)
    plain = replace(metric, centre=False)  # the training images' mean is taken when the training is over

    def validate(network: nn.Module) -> float:
        """The mean accuracy."""
        representation = represent(network, pictures.batches(device, BATCH))
        return float(episode_accuracies(representation, episodes, plain).mean())

    return validate


@contextmanager
def progress(run: Run, training: Training, every: int, continuation: Continuation) -> Iterator[Callable[[Step], None]]:
    """A progress bar and a line of metrics every few steps: reading a loss waits for the device."""
    with progress_bar(total=steps_of(training), initial=continuation.done, desc="train", unit="step") as bar:

        def on_step(step: Step) -> None:
            """Move the bar, and every few steps read the loss."""
            bar.update()
            if step.number % every == 0:
                loss, accuracy = step.loss.item(), step.accuracy.item()
                run.metrics(split="train", step=step.number, loss=loss, accuracy=accuracy)
                bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.2f}", refresh=False)

        yield on_step
