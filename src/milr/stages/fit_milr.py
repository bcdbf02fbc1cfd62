"""`milr fit-milr`: insert the MI-LR module into a trained, frozen network and fit it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from milr.data.augmentation import augmentation_of, input_batches, to_input
from milr.data.catalogues import data_entry, split_entry
from milr.data.episodes import draw_episode
from milr.data.loading import load_splits
from milr.data.pictures import Pictures
from milr.evaluation.information import estimates
from milr.explanation.batches import EpisodeBatches, episode_images
from milr.explanation.decisions import Batch
from milr.explanation.figures import Column
from milr.explanation.fitting import fit, validate
from milr.explanation.milr import MILR
from milr.explanation.objective import Terms
from milr.explanation.settings import FitSettings, MilrSettings
from milr.fields import pick
from milr.networks.continuation import Continuation
from milr.networks.layers import weights_sha256
from milr.networks.protonet import PrototypicalNetwork
from milr.runs.checkpoints import load_checkpoint, save_checkpoint
from milr.runs.folder import Run
from milr.runs.sources import SourceRun
from milr.runs.states import saved_states
from milr.settings.schema import FitMilr
from milr.stages.boards import Board, board
from milr.stages.devices import choose_device, dtype_of, example_images
from milr.stages.episodes import learned_shape, needed_pictures

log = logging.getLogger("milr")


def fit_milr(settings: FitMilr, run: Run, source: SourceRun) -> float:
    """Returns the validation objective of the step that was kept (eq. 10, lower is better)."""
    device = choose_device(settings.device)
    state = load_checkpoint(source.checkpoint, "protonet")
    network = PrototypicalNetwork.from_state(state, settings.backbone.name).to(device)
    before = weights_sha256(network.network)
    catalogue, pictures = load_splits(
        settings.dataset, settings.cache, episodes=needed_pictures(settings.milr, settings.episode)
    )
    run.record_data(data_entry(settings.dataset, catalogue), split_entry(catalogue))
    explainer = new_explainer(settings, network.network, pictures["train"], device)
    batches, validation = fit_batches(settings, network, pictures, device)
    how = pick(FitSettings, settings.milr, seed=settings.seed)
    try:
        with (
            saved_states(run, settings.milr.save_every) as continuation,
            board(run, settings.logger, continuation.done) as shown,
            progress(run, settings.milr.steps, settings.milr.log_every, continuation) as on_step,
        ):
            on_validation = on_validation_of(run, shown, explainer, pictures["validation"], settings, device)
            step = fit(explainer, batches, how, validation, on_step, on_validation, continuation)
    finally:  # after a loss that is not finite, too: the module is then in its last good state
        save_checkpoint(run.path("milr.pt"), {"kind": "milr", **explainer.state()})
    run.record_checkpoint("milr.pt")
    terms = validate(explainer, validation)
    if weights_sha256(network.network) != before:
        raise RuntimeError("the frozen network was changed by the fit: its explanation would be of another one")
    result = {
        "step": step,
        "network_sha256": before,
        "validation": terms,
        "information": estimates(explainer, pictures, device),
    }
    run.record(result=result)
    log_summary(result)
    return terms["objective"]


def new_explainer(settings: FitMilr, network: nn.Module, pictures: Pictures, device: torch.device) -> MILR:
    """The module put on a network, with what it needs from the training pictures, not yet fitted."""
    example = example_images(settings.dataset.size, device)
    layers = settings.layers["local"], settings.layers["global"]
    explainer = MILR(
        network, *layers, example, pick(MilrSettings, settings.milr, settings), dtype_of(settings.precision)
    )
    explainer.prepare(input_batches(pictures.images, device), len(pictures.images), settings.seed)
    return explainer


def fit_batches(
    settings: FitMilr, network: PrototypicalNetwork, pictures: dict[str, Pictures], device: torch.device
) -> tuple[EpisodeBatches, list[Batch]]:
    """The batch of each step, and the batches of the validation.

    The steps' episodes are harder: of the classes that the network was trained on, few are too easy to learn from.
    """
    episode, metric, mean = settings.episode, network.metric, network.mean
    shape, augmentation = learned_shape(settings.milr, episode), augmentation_of(settings.augmentation)
    batches = EpisodeBatches(pictures["train"], shape, metric, mean, augmentation, settings.seed, device)
    shape = (episode.way, episode.shot, episode.query)
    held_out = EpisodeBatches(pictures["validation"], shape, metric, mean, None, settings.seed, device)
    return batches, [held_out(number) for number in range(settings.milr.validation_episodes)]


def on_validation_of(
    run: Run, shown: Board | None, explainer: MILR, pictures: Pictures, settings: FitMilr, device: torch.device
) -> Callable[[int, dict[str, float]], None]:
    """What to do at each look at the validation episodes: a line of metrics, and on a board one episode's maps."""
    episode = draw_episode(pictures.labels, settings.episode.way, settings.episode.shot, 1, settings.seed, number=0)
    images, columns = episode_images(pictures, episode), []
    for role, part in (("support", episode.support), ("query", episode.query)):
        columns += [Column(role, pictures.records[index].class_name) for index in part.flatten().tolist()]

    def on_validation(step: int, metrics: dict[str, float]) -> None:
        """Tell of one look."""
        run.metrics(split="validation", step=step, **metrics)
        if shown:
            shown.maps(step, images, explainer.maps(to_input(images, device)), columns)

    return on_validation


@contextmanager
def progress(run: Run, steps: int, every: int, continuation: Continuation) -> Iterator[Callable[[int, Terms], None]]:
    """A progress bar with the terms, and a line of metrics, every few steps: reading the terms waits for the device."""
    with tqdm(total=steps, initial=continuation.done, desc="fit", unit="step") as bar:

        def on_step(step: int, terms: Terms) -> None:
            """Move the bar, and every few steps read the terms."""
            bar.update()
            if step % every == 0 or step == steps:
                metrics = terms.metrics()
                run.metrics(split="train", step=step, **metrics)
                shown = ("accuracy", "total_bits", "saturation", "decision_bits", "redundant_bits", "mask_mean")
                bar.set_postfix({name: f"{metrics[name]:.3g}" for name in shown})

        yield on_step


def log_summary(result: dict[str, Any]) -> None:
    """The lines that a person reads at the end."""
    shown = [result["validation"][name] for name in ("untouched_accuracy", "accuracy", "mask_mean")]
    log.info("decision accuracy on validation episodes: %.3f untouched, %.3f through the mask (mean %.3f)", *shown)
    for split, estimate in result["information"].items():
        log.info(
            "total information, %s species: %.3f bits a location (cap %.2f, saturation %.0f %%, %d images)",
            *(split, estimate["bits"], estimate["cap_bits"], 100 * estimate["saturation"], estimate["images"]),
        )
