"""`milr fit-milr`: insert the MI-LR module into a trained, frozen network and fit it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from milr.backbones.protonet import PrototypicalNetwork
from milr.bars import bar
from milr.data.augmentation import augment, augmentation_of, input_batches, to_device, to_input
from milr.data.catalogues import data_entry
from milr.data.loading import load_splits
from milr.data.pictures import Pictures
from milr.data.records import Catalogue
from milr.decisions.decisions import Batch
from milr.decisions.questions import Question, QuestionBatches
from milr.errors import MilrError
from milr.evaluation.information import convergence, estimates
from milr.explanation.bars import Bars
from milr.explanation.dataset_decisions import DatasetDecision, part
from milr.explanation.fitting import OnCritic, fit, validate
from milr.explanation.milr import MILR
from milr.explanation.objective import KNOWN_LATER, Terms
from milr.explanation.settings import CriticSettings, FitSettings, MilrSettings
from milr.fields import pick
from milr.information.units import bits
from milr.networks.layers import weights_sha256
from milr.runs.checkpoints import load_checkpoint, save_checkpoint
from milr.runs.folder import Run
from milr.runs.sources import SourceRun
from milr.runs.states import saved_states
from milr.settings.schema import FitMilr
from milr.stages.boards import Board, board
from milr.stages.devices import choose_device, dtype_of
from milr.stages.episodes import (
    columns_of,
    few_pictures,
    learned_shape,
    needed_pictures,
    split_looked_at,
    tested_batches,
)

log = logging.getLogger("milr")

CURVES = ("critic", "pairs")  # phases whose held-out bits are recorded
AT_ONCE = 32  # pictures that go through the network at once
EXAMPLES = 4  # pictures by which the layers are read: a network may move images by what they show


def fit_milr(settings: FitMilr, run: Run, source: SourceRun) -> float:
    """Returns the validation objective of the step that was kept (eq. 10, lower is better)."""
    device = choose_device(settings.device)
    state = load_checkpoint(source.checkpoint, "protonet")
    network = PrototypicalNetwork.from_state(state, settings.backbone.name).to(device)
    catalogue, pictures = load(settings, network)
    decision = DatasetDecision(settings.decision, catalogue, network)
    run.record_data(data_entry(settings.dataset, catalogue, decision.table), split_looked_at(decision))
    explainer = new_explainer(settings, network.network, pictures["train"], device)
    before = weights_sha256(network.network, explainer.layers.written)
    decision = decision.with_head(explainer, pictures, device)
    batches, validation = fit_batches(settings, decision, pictures, device)
    few = decision.question(few_pictures(settings.episode, 1, settings.seed))
    how = pick(FitSettings, settings.milr, seed=settings.seed, critic=pick(CriticSettings, settings.critic))
    try:
        with (
            saved_states(run, settings.milr.save_every) as continuation,
            board(run, settings.logger, continuation.done) as shown,
            progress_bars(run, how, settings.milr.log_every) as (on_critic, on_step),
        ):
            on_validation = on_validation_of(run, shown, explainer, pictures["validation"], few, device)
            step = fit(explainer, batches, how, validation, on_step, on_validation, on_critic, continuation)
    finally:  # after a loss that is not finite, too: the module is then in its last good state
        save_checkpoint(run.path("milr.pt"), {"kind": "milr", **explainer.state(), **decision.state()})
    run.record_checkpoint("milr.pt")
    terms = validate(explainer, validation)
    if weights_sha256(network.network, explainer.layers.written) != before:
        raise RuntimeError("the frozen network was changed by the fit: its explanation would be of another one")
    result = {
        "step": step,
        "network_sha256": before,
        "validation": terms,
        **convergences(run, step),
        "information": estimates(explainer, pictures, device),
        "map_cap_bits": map_cap(explainer),
    }
    run.record(result=result)
    log_summary(result, decision)
    return terms["objective"]


def load(settings: FitMilr, network: PrototypicalNetwork) -> tuple[Catalogue, dict[str, Pictures]]:
    """The catalogue, and the pictures of its splits; MilrError where a split is too small for the fit's episodes."""
    in_episodes = settings.decision.name == "prototypes"
    return load_splits(
        settings.dataset,
        settings.cache,
        episodes=needed_pictures(settings.milr, settings.episode) if in_episodes else None,
        normalisation=network.origin.normalisation,
        part_of=partial(part, settings.decision),
    )


def map_cap(explainer: MILR) -> float:
    """The most bits that the mean of a total map can reach."""
    infomax = explainer.settings.infomax
    return bits(explainer.bank()[0].cap(infomax.map, infomax.denominator))


def new_explainer(settings: FitMilr, network: nn.Module, pictures: Pictures, device: torch.device) -> MILR:
    """The module put on a network, with what it needs from the training pictures, not yet fitted."""
    if settings.critic.views > plain_views(settings) and not settings.augmentation.enabled:
        raise MilrError(
            f"critic.views={settings.critic.views}: more than {plain_views(settings)} need augmentation.enabled=true"
        )
    example = to_input(pictures.images[:EXAMPLES], device, pictures.normalisation)
    own = pick(MilrSettings, settings.milr, settings)
    precision = dtype_of(settings.precision)
    explainer = MILR(network, example=example, settings=own, precision=precision, layers=settings.layers)
    count = settings.critic.views * len(pictures.images)
    batches = settings.critic.views * ceil(len(pictures.images) / AT_ONCE)
    shown = bar(views(settings, pictures, device), total=batches, desc="prepare", unit="batch")
    explainer.prepare(shown, count, settings.seed)
    return explainer


def plain_views(settings: FitMilr) -> int:
    """How many views of a picture there are without chance: itself, and its mirror image where left is like right."""
    return 1 + settings.augmentation.flip


def views(settings: FitMilr, pictures: Pictures, device: torch.device) -> Iterator[Tensor]:
    """The pictures as batches for the network: as they are, mirrored where they may be, then augmented."""
    images, how = pictures.images, pictures.normalisation
    for view in range(settings.critic.views):
        if view < plain_views(settings):
            yield from input_batches(images if view == 0 else images.flip(3), device, AT_ONCE, how)
        else:
            for number, part in enumerate(images.split(AT_ONCE)):
                seed = f"{settings.seed}:{view}:{number}"
                yield augment(to_device(part, device), settings.augmentation, seed, how)


def fit_batches(
    settings: FitMilr,
    decision: DatasetDecision,
    pictures: dict[str, Pictures],
    device: torch.device,
    wrong: bool = False,
) -> tuple[Callable[[int], Batch], list[Batch]]:
    """The batch of each step, and the batches of the validation; `wrong`: all about wrong labels or targets.

    The steps' episodes are harder: of the classes that the network was trained on, few are too easy to learn from.
    """
    seed = settings.seed
    tested = tested_batches(settings.episode, settings.decision, seed)
    learned = decision.question(replace(tested, shape=learned_shape(settings.milr, settings.episode)))
    batches = QuestionBatches(pictures["train"], learned, augmentation_of(settings.augmentation), seed, device)
    question = decision.question(tested)
    held_out = QuestionBatches(pictures["validation"], question, None, seed, device)
    count = question.count(settings.milr.validation_episodes, len(pictures["validation"].records))
    return partial(batches, wrong=wrong), [held_out(number, wrong) for number in range(count)]


def on_validation_of(
    run: Run, shown: Board | None, explainer: MILR, pictures: Pictures, question: Question, device: torch.device
) -> Callable[[int, dict[str, float]], None]:
    """What to do at each look at the validation batches: a line of metrics, and on a board the maps of one."""
    chosen = question.draw(pictures, 0)
    images = pictures.chosen(chosen)
    columns = columns_of([pictures.records[index] for index in chosen.tolist()], question)

    def on_validation(step: int, metrics: dict[str, float]) -> None:
        """Tell of one look."""
        run.metrics(split="validation", step=step, **known(metrics))
        if shown:
            shown.maps(step, images, explainer.maps(to_input(images, device, pictures.normalisation)), columns)

    return on_validation


@contextmanager
def progress_bars(run: Run, how: FitSettings, every: int) -> Iterator[tuple[OnCritic, Callable[[int, Terms], None]]]:
    """A progress bar for each phase, and lines of metrics every few steps. Reading terms waits for the device."""
    with Bars(how, shown=True) as bars:

        def on_critic(phase: str, step: int, nats: float | None) -> None:
            """Move the bar; where the held-out bits were estimated, show and keep them."""
            bars.on_critic(phase, step, nats)
            if nats is not None:
                run.metrics(split="held_out", phase=phase, step=step, bits=bits(nats))

        def on_step(step: int, terms: Terms) -> None:
            """Move the bar, and every few steps read the terms."""
            bars.advance("mask", step, how.steps)
            if step % every == 0 or step == how.steps:
                metrics = known(terms.metrics())
                run.metrics(split="train", step=step, **metrics)
                bars.show_metrics("mask", metrics)

        yield on_critic, on_step


def convergences(run: Run, step: int) -> dict[str, Any]:
    """How far each phase came, by its lines of metrics, which a run that was resumed has too; step: the mask's best.

    A phase that took fewer steps than it was given ended because it had stalled.
    """
    rows = run.read_metrics()
    curves = {phase: [(row["step"], row["bits"]) for row in rows if row.get("phase") == phase] for phase in CURVES}
    taken = max((row["step"] for row in rows if row.get("split") == "validation"), default=0)
    return {**{phase: convergence(curve) for phase, curve in curves.items()}, "mask": {"step": step, "steps": taken}}


def known(metrics: Mapping[str, float]) -> dict[str, float]:
    """Of the metrics of the mask's fit those that are estimates then already."""
    return {name: value for name, value in metrics.items() if name not in KNOWN_LATER}


def log_summary(result: dict[str, Any], decision: DatasetDecision) -> None:
    """The lines that a person reads at the end."""
    shown = [result["validation"][name] for name in ("untouched_accuracy", "accuracy", "mask_mean")]
    words = ("episodes", "accuracy") if decision.section.name == "prototypes" else ("batches", decision.row.score)
    log.info("decision %s on validation %s: %.3f untouched, %.3f through the mask (mean %.3f)", *words[::-1], *shown)
    if critic := result["critic"]:
        log.info(
            "the critic's held-out bits: %.3f at step %d of %d; the last quarter of the steps gained %.1f %%: at least",
            *(critic["bits"], critic["step"], critic["steps"], 100 * critic["last_quarter_gain"]),
        )
    for split, estimate in result["information"].items():
        log.info(
            "total information, %s %s: %.3f bits a location, %.0f %% of the cap of %.2f (%d images, each among %.0f)",
            *(
                split,
                "pictures" if decision.row.divided else "species",
                estimate["bits"],
                100 * estimate["saturation"],
                estimate["cap_bits"],
                estimate["images"],
                2 ** estimate["cap_bits"],
            ),
        )
    cap = result["map_cap_bits"]
    log.info("maps have another cap, %.2f: each image is identified among %.0f, itself and the fit's bank", cap, 2**cap)
