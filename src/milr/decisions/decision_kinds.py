"""The usual decisions about single images, as `Batch` takes them: classes, several labels at once, numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from milr.decisions.decisions import Decided, OwnModules
from milr.decisions.inputs import described
from milr.errors import MilrError


def classify(labels: Any, head: nn.Module | None = None) -> OwnModules:
    """One class for each image: cross-entropy in nats; the score is 1 where the highest logit is the label's.

    Args:
        labels: class numbers [K].
        head: makes logits [K, classes] of the network's output [K, E], and is frozen with the network; None: the output
            is the logits.

    Returns:
        What `Batch(images, decide)` takes; labels that are none are refused by the fit.

    Example:
        >>> import milr, torch
        >>> images, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % 4
        >>> batch = milr.Batch(images, milr.classify(labels, head=torch.nn.Linear(512, 4)))
        >>> batch.decided(torch.randn(8, 512)).logits.shape, len(batch.modules)
        (torch.Size([8, 4]), 1)
    """
    return OwnModules(lambda output: (headed(output, head), labels), modules_of(head))


def multilabel(targets: Any, head: nn.Module | None = None) -> OwnModules:
    """Any number of L labels for each image: the mean binary cross-entropy in nats of its labels.

    The score is the share of an image's labels that are both given (logit above 0) and right, among those that are
    either (Godbole, Sarawagi 2004); 1 where there are none.

    Args:
        targets: [K, L], 1 or true for a label that the image has, else 0.
        head: makes logits [K, L] of the network's output [K, E], and is frozen with the network; None: the output is
            the logits.

    Returns:
        What `Batch(images, decide)` takes.

    Raises:
        MilrError: for targets that are not [K, L] between 0 and 1; in the fit, for logits of another shape.

    Example:
        >>> import milr, torch
        >>> decide = milr.multilabel(torch.tensor([[1, 1, 0], [0, 0, 1]]))
        >>> decided = milr.Batch(torch.randn(2, 3, 32, 32), decide).decided(torch.tensor([[3.0, -3, -3], [-3, -3, 3]]))
        >>> decided.score  # one of two found; all found
        tensor([0.5000, 1.0000])
    """
    wanted = numbers(targets, "the targets of multilabel")
    if wanted.ndim != 2 or not 0 <= wanted.min() <= wanted.max() <= 1:
        raise MilrError(f"the targets of multilabel are 0 or 1 for each label, [K, L], not {described(targets)}")

    def decide(output: Tensor) -> Decided:
        """The labels of each image."""
        logits, target = against(headed(output, head), wanted)
        loss = binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1)
        given, right = logits > 0, target > 0.5
        either = (given | right).sum(1)
        return Decided(loss, torch.where(either > 0, (given & right).sum(1) / either.clamp(min=1), 1.0), logits)

    return OwnModules(decide, modules_of(head))


def regress(targets: Any, head: nn.Module | None = None, spread: Any = None) -> OwnModules:
    """One number for each image, or several: the mean squared error in units of the targets' variance.

    The score is 1 minus that, whose mean over images is R² (below 0 for predictions worse than the mean). What
    Grad-CAM and its like explain is the prediction, of several numbers the highest.

    Args:
        targets: [K] or [K, M].
        head: makes predictions [K, M] of the network's output [K, E], and is frozen with the network; None: the output
            is the predictions.
        spread: standard deviation of the targets, a number or [M]: give that of the training set where batches are
            small; None: of these targets.

    Returns:
        What `Batch(images, decide)` takes.

    Raises:
        MilrError: for targets that are no finite numbers, or all the same with `spread=None`; in the fit, for
            predictions of another shape.

    Example:
        >>> import milr, torch
        >>> decide = milr.regress([1.0, 2.0, 3.0])
        >>> batch = milr.Batch(torch.randn(3, 3, 32, 32), decide)
        >>> print(batch.decided(torch.tensor([[1.0], [1.0], [3.0]])).score.mean())  # R²
        tensor(0.5000)
    """
    wanted = numbers(targets, "the targets of regress")
    wanted = wanted[:, None] if wanted.ndim == 1 else wanted
    if wanted.ndim != 2:
        raise MilrError(f"the targets of regress are [K] or [K, M], not {described(targets)}")
    scale = wanted.std(0, correction=0) if spread is None else numbers(spread, "the spread of regress").reshape(-1)
    if not (scale > 0).all():
        raise MilrError(f"the spread of the targets is {scale.tolist()}: it must be above 0; give spread=")

    def decide(output: Tensor) -> Decided:
        """The numbers of each image."""
        predicted, target = against(headed(output, head), wanted)
        loss = ((predicted - target) / scale.to(output.device)).square().mean(1)
        return Decided(loss, 1 - loss.detach(), predicted, chance=0.0)

    return OwnModules(decide, modules_of(head))


def headed(output: Tensor, head: nn.Module | None) -> Tensor:
    """What the head makes of the network's output, or the output itself."""
    given: Tensor = output if head is None else head(output)
    return given


def modules_of(head: nn.Module | None) -> tuple[nn.Module, ...]:
    """The head, if there is one, as modules of a decision."""
    return () if head is None else (head,)


def numbers(given: Any, what: str) -> Tensor:
    """Finite float32 numbers; MilrError for anything else, and for none."""
    try:
        values = torch.as_tensor(given).detach().float()
    except (TypeError, ValueError, RuntimeError):
        raise MilrError(f"{what} must be numbers, not {described(given)}") from None
    if not values.numel() or not torch.isfinite(values).all():
        raise MilrError(f"{what} must be finite numbers, at least one: {described(given)} holds others")
    return values


def against(given: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """What the network gives [K, M], and what is wanted on its device; MilrError for another shape."""
    given = given[:, None] if given.ndim == 1 else given
    if given.shape != wanted.shape:
        raise MilrError(
            f"the network or its head gives {list(given.shape)} numbers for targets {list(wanted.shape)}: it must give "
            "one for each"
        )
    return given, wanted.to(given.device)
