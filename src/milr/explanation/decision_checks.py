"""The checks of a user's decision, and of the batches of a fit, before any time is spent on them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from milr.decisions.decisions import Batch, Decided, checked_batch
from milr.decisions.inputs import described
from milr.errors import MilrError
from milr.explanation.settings import FitSettings
from milr.fields import check
from milr.networks.inputs import count
from milr.networks.layers import LayerPair, frozen

log = logging.getLogger("milr")

OWN_OUTPUT = ("classes", "multilabel", "regression")  # decisions that read the network's output as it is
FEWEST = 16  # items of which a share says something


def check_decision(batch: Batch, layers: LayerPair, output: Tensor) -> None:
    """One look at a batch's decision before a fit: all of `checked_decision`, and that it is a function of the output.

    MilrError where it is random (dropout), or asks for gradients to parameters of its own.
    """
    with frozen(layers.network, *batch.modules), torch.enable_grad():
        with no_statistics_counted():
            decided = batch.decided(output, look=True)
        again = batch.decided(output)
    require_own(decided)
    if not all(same(getattr(decided, name), getattr(again, name)) for name in ("loss", "logits")):
        raise MilrError(
            "decide gives two results for one output: name the modules that it calls, Batch(images, decide, "
            "modules=(head,)), so that their dropout is off, and draw nothing at random in it"
        )


def same(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two results of one decision are equal but for rounding."""
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True)


@contextmanager
def no_statistics_counted() -> Iterator[None]:
    """MilrError before any module runs in training mode that counts statistics of what it is given (BatchNorm)."""

    def refuse(module: nn.Module, inputs: object) -> None:
        """MilrError if this module is about to count."""
        if module.training and isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats:
            raise MilrError(
                f"decide calls a {type(module).__name__} in training mode, which counts statistics of what it gets: "
                "name its module, Batch(images, decide, modules=(head,)), or call its eval()"
            )

    hook = register_module_forward_pre_hook(refuse)
    try:
        yield
    finally:
        hook.remove()


def require_own(untouched: Decided) -> None:
    """MilrError if the loss for an output without gradient has one: from parameters of the decision's own."""
    if untouched.loss.requires_grad:
        raise MilrError(
            "decide has parameters of its own that ask for gradients: name their modules, Batch(images, decide, "
            "modules=(head,)), so that they are frozen like the network"
        )


def require_gradient(occluded: Tensor, output: Tensor, decided: Decided, layers: LayerPair) -> None:
    """MilrError if the loss of a second pass gives no gradient to the mask."""
    if not occluded.requires_grad:
        raise MilrError("no parameter of the mask asks for gradients: call requires_grad_() on explainer.modules")
    if not output.requires_grad:
        raise MilrError(
            f"the network's output has no gradient to the layer '{layers.local}': does a part of it above run under "
            "torch.no_grad or inference_mode, call detach, or is the layer itself within a reentrant checkpoint?"
        )
    if not decided.loss.requires_grad:
        raise MilrError("what decide gives has no gradient to the output that it gets: no detach, no NumPy in it")


def check_fit(batches: object, settings: FitSettings, validation: object) -> None:
    """MilrError for arguments of `fit` with which no fit can be made."""
    if not callable(batches):
        raise MilrError(
            f"fit(explainer, batches, ...): batches is a function of the step that gives a milr.Batch, not "
            f"{described(batches)}"
        )
    if not isinstance(settings, FitSettings):
        raise MilrError(f"fit(explainer, batches, settings): settings are milr.FitSettings, not {described(settings)}")
    if isinstance(validation, Batch) or not isinstance(validation, Iterable):
        raise MilrError(f"fit(..., validation): validation is a list of milr.Batch, not {described(validation)}")
    check(settings)


def check_batches(layers: LayerPair, first: Batch, validation: Sequence[Batch]) -> None:
    """MilrError if the first batch or a validation batch holds anything else than images and a decision about them.

    The network runs once, on the first batch; the other decisions are tried on its output.
    """
    passed = layers.first_pass(first.images)
    layers.check_larger(first.images, passed)
    output = passed.output
    check_decision(first, layers, output)
    with frozen(layers.network, *first.modules):
        loss = first.decided(output).loss.mean().item()
    if not isfinite(loss):
        raise MilrError(
            f"the loss of the untouched decision about the first batch is {loss}: look at the images' values, "
            "the network's weights and what decide makes of its output"
        )
    for number, given in enumerate(validation, 1):
        batch = checked_batch(given, layers, f"validation batch {number}")
        rows = torch.arange(count(batch.images), device=output.device) % len(output)
        check_decision(batch, layers, output[rows])


def check_own_output(layers: LayerPair, decision: str) -> None:
    """MilrError where this decision needs one vector for each image and the network's output is something else.

    The log warns where that vector is z, and hardly logits.
    """
    shape = layers.output_shape
    if decision in OWN_OUTPUT and sum(size > 1 for size in shape) > 1:
        raise MilrError(
            f"decision={decision!r} needs one vector for each image, and the network gives "
            f"[K, {', '.join(map(str, shape))}]: name its logits (output=), give the network with its classifier, "
            "or a function as decision"
        )
    if decision == "classes":
        first = layers.first_pass(layers.example)
        if torch.equal(first.output, first.representation):
            log.warning(
                "the network's output is z itself: decision='classes' takes its %d numbers for logits", shape[0]
            )


def warn_of_answers(layers: LayerPair, batches: Iterable[Batch]) -> None:
    """Warnings where the network's own answers cannot be what is meant.

    They are so where they are no better than chance (labels that are numbered otherwise, images of another scale,
    random weights), and where logits look like probabilities.
    """
    rows = []
    for number, given in enumerate(batches, 1):
        batch = checked_batch(given, layers, f"batch {number}")
        output = layers.first_pass(batch.images).output
        check_decision(batch, layers, output)
        with torch.no_grad(), frozen(layers.network, *batch.modules):
            rows.append(batch.decided(output))
    scores, chance = torch.cat([row.score for row in rows]).float(), max(row.chance for row in rows)
    right, spread = float(scores.mean()), (max(chance * (1 - chance), 0.0) / len(scores)) ** 0.5
    if len(scores) >= FEWEST and right <= chance + spread:
        log.warning(
            "the untouched network decides %d items of the first batches with a score of %.3f, by chance %.3f: its "
            "maps would be of what it does not do. Are labels numbered as its classes, images scaled and colours in "
            "order as in training, its weights loaded?",
            *(len(scores), right, chance),
        )
    logits = [row.logits for row in rows if row.logits is not None and row.chance != 0]  # 0: of numbers
    if logits and all(bool(((one >= 0) & (one <= 1)).all()) for one in logits):
        log.warning(
            "all that the decision takes for logits lies from 0 to 1, as probabilities do: its loss would be another "
            "than the network's. Give the network without its last softmax, or logits of it, output=torch.log or "
            "torch.logit"
        )
