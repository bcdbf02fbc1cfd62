"""`milr train-protonet`: train a prototypical network, episode by episode."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from milr.stages.job import run_stage
from milr.stages.runs import Run
from milr.stages.schema import TrainProtonet
from milr.stages.store import store_schemas

if TYPE_CHECKING:
    import torch
    from torch import nn

    from milr.data.pictures import Pictures
    from milr.networks.prototypes import Metric
    from milr.networks.training import Step, Training

store_schemas()

log = logging.getLogger("milr")

BATCH = 64  # pictures that go through the network at once where no episode says otherwise


def train_protonet(settings: TrainProtonet, run: Run) -> float:
    """Returns the accuracy on the validation classes of the network that was kept."""
    import torch

    from milr.networks.backbones import build_backbone
    from milr.networks.protonet import PrototypicalNetwork, represent
    from milr.networks.prototypes import Metric
    from milr.networks.training import train_prototypical
    from milr.stages.augmentations import training_augmentation
    from milr.stages.catalogues import data_entry, load_splits, split_entry, view
    from milr.stages.checkpoints import save_checkpoint
    from milr.stages.devices import choose_device, inputs

    device = choose_device(settings.device)
    catalogue, pictures = load_splits(settings.dataset, settings.cache, ("train", "validation"))
    split = split_entry(catalogue)
    run.record(data=data_entry(settings.dataset, catalogue), split=split)
    metric = Metric(settings.metric.distance, settings.metric.temperature, settings.metric.centre)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = build_backbone(settings.backbone.name, settings.backbone.weights).to(device)

    def keep(name: str) -> None:
        # Only a centring metric needs the mean, and it costs a pass over all training pictures.
        images = pictures["train"].images if metric.centre else pictures["train"].images[:1]
        mean = represent(network, inputs(images, BATCH, device)).mean(0).cpu() * metric.centre
        classes = tuple(split["train"])
        best = PrototypicalNetwork(settings.backbone.name, network, metric, mean, settings.dataset.size, classes)
        save_checkpoint(run.path(name), {"kind": "protonet", **best.state()})

    def on_validation(step: int, accuracy: float, best: bool) -> None:
        run.metrics(split="validation", step=step, accuracy=accuracy)
        log.info("step %d: %.3f on validation classes%s", step, accuracy, " (the best so far)" if best else "")
        if best:
            keep("best.pt")

    validate = validation(settings, pictures["validation"], metric, device)
    augmentation = training_augmentation(settings.augmentation)
    training = training_settings(settings)
    with progress(run, training, settings.train.log_every) as on_step:
        trained = train_prototypical(
            network, pictures["train"], metric, training, augmentation, validate, on_step, on_validation
        )
    run.record_checkpoint("best.pt")
    run.record(result={"validation_accuracy": trained.accuracy, "step": trained.step})
    shape = f"{settings.episode.way}-way {settings.episode.shot}-shot, validation split, {view(settings.dataset)}"
    log.info("kept step %d: accuracy %.3f (%s)", trained.step, trained.accuracy, shape)
    return trained.accuracy


def training_settings(settings: TrainProtonet) -> Training:
    """The training's own settings from the stage's."""
    from milr.networks.training import Training

    train, episode = settings.train, settings.episode
    return Training(
        episodes=train.episodes,
        way=train.way or episode.way,
        shot=episode.shot,
        query=train.query or episode.query,
        episodes_per_step=train.episodes_per_step,
        rotate=train.rotate,
        optimizer=train.optimizer,
        learning_rate=train.learning_rate,
        weight_decay=train.weight_decay,
        schedule=train.schedule,
        warmup=train.warmup,
        precision=train.precision,
        freeze=tuple(train.freeze),
        batch_norm=train.batch_norm,
        validate_every=train.validate_every,
        seed=settings.seed,
    )


def validation(
    settings: TrainProtonet, pictures: Pictures, metric: Metric, device: torch.device
) -> Callable[[nn.Module], float]:
    """The accuracy over the same episodes of the validation classes at every look."""
    from dataclasses import replace

    from milr.data.episodes import draw_episodes
    from milr.evaluation.accuracy import episode_accuracies
    from milr.networks.protonet import represent
    from milr.stages.devices import inputs

    episode = settings.episode
    numbers = range(settings.train.validation_episodes)
    episodes = draw_episodes(pictures.labels, episode.way, episode.shot, episode.query, "validation", numbers)
    plain = replace(metric, centre=False)  # the training images' mean is taken when the training is over

    def validate(network: nn.Module) -> float:
        representation = represent(network, inputs(pictures.images, BATCH, device))
        return float(episode_accuracies(representation, episodes, plain).mean())

    return validate


@contextmanager
def progress(run: Run, training: Training, every: int) -> Iterator[Callable[[Step], None]]:
    """A progress bar and a line of metrics every few steps: reading a loss waits for the device."""
    from tqdm import tqdm

    with tqdm(total=-(-training.episodes // training.episodes_per_step), desc="train", unit="step") as bar:

        def on_step(step: Step) -> None:
            bar.update()
            if step.number % every == 0:
                loss, accuracy = step.loss.item(), step.accuracy.item()
                run.metrics(split="train", step=step.number, loss=loss, accuracy=accuracy)
                bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.2f}")

        yield on_step


@hydra.main(config_path="pkg://milr.conf", config_name="train_protonet", version_base="1.3")
def main(cfg: DictConfig) -> float:
    return run_stage(cfg, TrainProtonet, train_protonet)
