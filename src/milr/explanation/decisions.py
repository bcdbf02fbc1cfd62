"""A batch of images with the decision about them, and the checks of what a user's decision gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.module import register_module_forward_pre_hook

from milr.errors import MilrError
from milr.explanation.inputs import described, dtype_name, images_of
from milr.explanation.settings import FitSettings
from milr.fields import check
from milr.networks.inputs import count
from milr.networks.layers import LayerPair, frozen

Decision = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Batch:
    """Images and the network's own decision about them, whose cross-entropy is -l in the paper's eq. 10.

    Args:
        images: [K, 3, S, S], as the network takes them.
        decide: takes the network's output [K, E] and gives logits [Q, classes] and labels, class numbers [Q]: for a
            classifier `lambda output: (output, labels)`, for a prototypical network the queries against the supports'
            prototypes (`episode_decision`).
        modules: what `decide` calls beside the network, a head of its own for example: they are frozen with the
            network, in `eval()` and without gradients, and put back afterwards.

    Raises:
        MilrError: for a `decide` that is no function and modules that are none; `fit` checks all the rest.

    Example:
        >>> import milr, torch
        >>> images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 4
        >>> head = torch.nn.Linear(512, 4)
        >>> batch = milr.Batch(images, lambda output: (head(output), labels), modules=(head,))
        >>> logits, same = batch.decided(torch.randn(16, 512))
        >>> logits.shape, same.shape
        (torch.Size([16, 4]), torch.Size([16]))
    """

    images: Any  # Inputs
    decide: Decision
    modules: Sequence[nn.Module] = ()

    def __post_init__(self) -> None:
        if not callable(self.decide):
            raise MilrError(
                f"Batch(images, decide): decide is a function of the network's output, not {described(self.decide)}"
            )
        modules = (self.modules,) if isinstance(self.modules, nn.Module) else tuple(self.modules)
        for module in modules:
            if not isinstance(module, nn.Module):
                raise MilrError(f"Batch(images, decide, modules): modules are torch modules, not {described(module)}")
        object.__setattr__(self, "modules", modules)

    def decided(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [Q, classes] and labels [Q], both on the output's device. MilrError if `decide` gives anything else.

        It gets a copy of the output and may change it in place.
        """
        return checked_decision(self.decide(output.clone()), output.device)


def checked_batch(batch: object, layers: LayerPair, what: str) -> Batch:
    """The batch with its images as the network takes them; MilrError for what is no batch of such images."""
    if not isinstance(batch, Batch):
        raise MilrError(f"{what} must be a milr.Batch(images, decide), not {described(batch)}")
    return replace(batch, images=images_of(batch.images, layers, f"the images of {what}"))


def checked_decision(given: object, device: torch.device) -> tuple[Tensor, Tensor]:
    """Logits [Q, classes] and labels int64 [Q] from what a user's `decide` gave; MilrError for anything else."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise MilrError(f"decide must give a pair (logits [Q, classes], labels [Q]), not {described(given)}")
    logits, labels = given
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.ndim != 2:
        what = f"{dtype_name(logits)} " if isinstance(logits, Tensor) else ""
        raise MilrError(f"the logits of decide must be floats [Q, classes], not {what}{described(logits)}")
    rows, classes = logits.shape
    if not rows:
        raise MilrError("decide gives no row of logits: there is no decision to explain")
    if classes < 2:
        hint = "for a yes or no by one logit give torch.cat([torch.zeros_like(logit), logit], 1)"
        raise MilrError(f"decide gives logits of {classes} class, with which nothing can be decided: {hint}")
    return logits.to(device), _labels(labels, rows, classes).to(device)


def _labels(given: object, rows: int, classes: int) -> Tensor:
    wrong = MilrError(f"the labels of decide must be class numbers [Q], not {described(given)}")
    if isinstance(given, list | tuple | np.ndarray) and len(given):
        try:
            given = torch.as_tensor(given)
        except (TypeError, ValueError, RuntimeError):
            raise wrong from None
    if not isinstance(given, Tensor):
        raise wrong
    if given.is_floating_point() or given.is_complex():
        raise MilrError(
            f"the labels of decide are {dtype_name(given)}: give class numbers, as integers (labels.long())"
        )
    if given.ndim != 1:
        raise wrong
    if len(given) != rows:
        raise MilrError(f"decide gives {rows} rows of logits and {len(given)} labels: one label a row")
    labels = given.detach().long()
    if labels.device.type == "cpu":  # elsewhere each look waits for the device: once a fit, `require_classes`
        require_classes(labels, classes)
    return labels


def require_classes(labels: Tensor, classes: int) -> None:
    """MilrError for a label that is no class."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        bad = low if low < 0 else high
        raise MilrError(f"decide gives the label {bad} for {classes} classes: they go from 0 to {classes - 1}")


def check_decision(batch: Batch, layers: LayerPair, output: Tensor) -> None:
    """One look at a batch's decision before a fit: all of `checked_decision`, and that it is a function of the output.

    MilrError where it is random (dropout), or asks for gradients to parameters of its own.
    """
    with frozen(layers.network, *batch.modules), torch.enable_grad():
        with no_statistics_counted():
            logits, labels = batch.decided(output)
        again, _ = batch.decided(output)
    require_classes(labels, logits.shape[1])
    require_own(logits)
    if logits.shape != again.shape or not torch.allclose(logits, again, rtol=1e-3, atol=1e-5, equal_nan=True):
        raise MilrError(
            "decide gives two results for one output: name the modules that it calls, Batch(images, decide, "
            "modules=(head,)), so that their dropout is off, and draw nothing at random in it"
        )


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


def require_own(untouched: Tensor) -> None:
    """MilrError if logits of an output without gradient have one: they come from parameters of the decision's own."""
    if untouched.requires_grad:
        raise MilrError(
            "decide has parameters of its own that ask for gradients: name their modules, Batch(images, decide, "
            "modules=(head,)), so that they are frozen like the network"
        )


def require_gradient(occluded: Tensor, output: Tensor, logits: Tensor, layers: LayerPair) -> None:
    """MilrError if the logits of a second pass give no gradient to the mask."""
    if not occluded.requires_grad:
        raise MilrError("no parameter of the mask asks for gradients: call requires_grad_() on explainer.modules")
    if not output.requires_grad:
        raise MilrError(
            f"the network's output has no gradient to the layer '{layers.local}': does a part of it above run under "
            "torch.no_grad or inference_mode, or call detach?"
        )
    if not logits.requires_grad:
        raise MilrError("the logits of decide have no gradient to the output that it gets: no detach, no NumPy in it")


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
    output = layers.first_pass(first.images).output
    check_decision(first, layers, output)
    with frozen(layers.network, *first.modules):
        loss = cross_entropy(*first.decided(output)).item()
    if not isfinite(loss):
        raise MilrError(
            f"the cross-entropy of the untouched decision about the first batch is {loss}: look at the images' values, "
            "the network's weights and what decide makes of its output"
        )
    for number, given in enumerate(validation, 1):
        batch = checked_batch(given, layers, f"validation batch {number}")
        rows = torch.arange(count(batch.images), device=output.device) % len(output)
        check_decision(batch, layers, output[rows])
