"""A batch of images with the decision about them: what a decision may give, brought to one form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from milr.decisions.inputs import described, dtype_name, images_of
from milr.default_device import on_the_users
from milr.errors import MilrError
from milr.networks.layers import LayerPair

IGNORED = (-100, -1, 255)  # as labels, by custom


@dataclass(frozen=True)
class Decided:
    """What a decision of any kind came to, for Q items: queries, images, whatever the decision is about.

    A scalar counts as of one item. `milr.classify`, `milr.pairs` and their like give it.

    Args:
        loss: [Q] or [], floats whose mean is -l in the paper's eq. 10; its gradient reaches the network's output.
        score: [Q] or [], at most 1, higher is better: whether a class is right, a share, R². "accuracy" in all metrics.
        logits: [Q, answers]: what speaks for each answer, the highest being the one given: the number that Grad-CAM and
            its like explain. None: they have nothing to explain, MI-LR has.
        chance: the score of a decision that knows nothing.
        images: [Q], which image of the batch each item is about; None: the items are about the last Q images.
        asked: [Q], the answer of each item that Grad-CAM and its like explain; None: the one that is given.

    Example:
        >>> import milr, torch
        >>> wanted = torch.zeros(16, 512)
        >>> def decide(output):  # how near an embedding is to a wanted one
        ...     distance = (output - wanted).square().mean(1)
        ...     return milr.Decided(loss=distance, score=(distance < 0.5).float())
        >>> milr.Batch(torch.randn(16, 3, 32, 32), decide).decided(torch.zeros(16, 512)).score.mean()
        tensor(1.)
    """

    loss: Tensor
    score: Tensor
    logits: Tensor | None = None
    chance: float = nan
    images: Tensor | None = None
    asked: Tensor | None = None

    def owners(self, count: int) -> list[int]:
        """The image of each item, among `count` images."""
        items = len(self.loss)
        return [*range(count - items, count)] if self.images is None else self.images.tolist()

    def answers(self) -> Tensor:
        """The logits [Q, answers]; MilrError where there are none."""
        if self.logits is None:
            raise MilrError(
                "decide gives a milr.Decided without logits, the number that this method explains: give Decided(loss, "
                "score, logits), or leave the method out"
            )
        return self.logits

    def explained(self) -> Tensor:
        """The answer of each item that is explained [Q]: the one asked for, else the one given."""
        return self.answers().argmax(1) if self.asked is None else self.asked.to(self.loss.device)

    def explained_logits(self) -> Tensor:
        """What speaks for that answer [Q]."""
        return self.answers().gather(1, self.explained()[:, None])[:, 0]


Decision = Callable[[Tensor], tuple[Tensor, Tensor] | Decided]


@dataclass(frozen=True)
class OwnModules:
    """A decision with the modules that it calls: `Batch` freezes them with the network, without being told."""

    decide: Decision
    modules: tuple[nn.Module, ...]

    def __call__(self, output: Tensor) -> tuple[Tensor, Tensor] | Decided:
        return self.decide(output)


@dataclass(frozen=True, init=False)
class Batch:
    """Images and the decision about them, whose loss is -l in the paper's eq. 10.

    Args:
        images: [K, 3, S, S], as the network takes them: or a dict of tensors, or a tuple of them, where it takes those.
        decide: takes the network's output [K, E] and gives logits [Q, classes] and labels, class numbers [Q], whose
            cross-entropy is the loss, or a `Decided` with a loss and a score of any other kind. `milr.classify`,
            `multilabel`, `regress`, `pairs`, `prototypes` and `episode_decision` make such functions.
        modules: what `decide` calls beside the network, a head of its own for example: they are frozen with the
            network, in `eval()` and without gradients, and put back afterwards.
        inputs: another name of `images`, for who has a dict or a tuple of tensors.

    Raises:
        MilrError: for a `decide` that is no function and modules that are none; `fit` checks all the rest.

    Example:
        >>> import milr, torch
        >>> images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 4
        >>> head = torch.nn.Linear(512, 4)
        >>> batch = milr.Batch(images, lambda output: (head(output), labels), modules=(head,))
        >>> decided = batch.decided(torch.randn(16, 512))
        >>> decided.loss.shape, decided.score.shape, decided.chance
        (torch.Size([16]), torch.Size([16]), 0.25)
    """

    images: Any  # networks.inputs.Inputs
    decide: Decision
    modules: Sequence[nn.Module] = ()

    def __init__(
        self, images: Any = None, decide: Any = None, modules: Sequence[nn.Module] = (), *, inputs: Any = None
    ) -> None:
        if (images is None) == (inputs is None):
            given = "both" if inputs is not None else "neither"
            raise MilrError(f"Batch(images, decide): give images, or inputs as their other name, not {given}")
        if not callable(decide):
            raise MilrError(
                f"Batch(images, decide): decide is a function of the network's output, not {described(decide)}"
            )
        modules = (modules,) if isinstance(modules, nn.Module) else tuple(modules)
        for module in modules:
            if not isinstance(module, nn.Module):
                raise MilrError(f"Batch(images, decide, modules): modules are torch modules, not {described(module)}")
        own = decide.modules if isinstance(decide, OwnModules) else ()
        object.__setattr__(self, "images", inputs if images is None else images)
        object.__setattr__(self, "decide", decide)
        object.__setattr__(self, "modules", (*modules, *(module for module in own if module not in modules)))

    def decided(self, output: Tensor, look: bool = False) -> Decided:
        """Loss and score of each item [Q] on the output's device. MilrError if `decide` gives anything else.

        It gets a copy of the output and may change it in place. `look`: at values too where they lie on another device
        than the CPU, which waits for it.
        """
        with on_the_users():
            given = self.decide(output.clone())
        return checked_decision(given, output.device, look)


def asking_for(batch: Batch, answers: Tensor) -> Batch:
    """The same batch, in which these answers [Q] are to be explained, whichever are given."""
    return Batch(batch.images, lambda output: replace(batch.decided(output), asked=answers), batch.modules)


def checked_batch(batch: object, layers: LayerPair, what: str) -> Batch:
    """The batch with its images as the network takes them; MilrError for what is no batch of such images."""
    if not isinstance(batch, Batch):
        raise MilrError(f"{what} must be a milr.Batch(images, decide), not {described(batch)}")
    return replace(batch, images=images_of(batch.images, layers, f"the images of {what}"))


def checked_decision(given: object, device: torch.device, look: bool) -> Decided:
    """What a user's `decide` gave, each value [Q] on the device; MilrError for anything else."""
    if isinstance(given, Decided):
        return _checked_values(given, device, look)
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise MilrError(
            "decide must give a pair (logits [Q, classes], labels [Q]) or a milr.Decided(loss, score), not "
            f"{described(given)}"
        )
    logits, labels = given
    _check_logits(logits, "the logits of decide")
    rows, classes = logits.shape
    if classes < 2:
        hint = "for a yes or no by one logit give torch.cat([torch.zeros_like(logit), logit], 1)"
        raise MilrError(f"decide gives logits of {classes} class, with which nothing can be decided: {hint}")
    labels = _labels(labels, rows)
    if look or labels.device.type == "cpu":  # elsewhere each look waits for the device
        require_classes(labels, classes)
    return class_decided(logits.to(device), labels.to(device))


def class_decided(logits: Tensor, labels: Tensor, images: Tensor | None = None) -> Decided:
    """Cross-entropy in nats, and whether the highest of logits [Q, classes] is the label [Q]."""
    loss = cross_entropy(logits, labels, reduction="none")
    return Decided(loss, (logits.argmax(1) == labels).to(loss.dtype), logits, 1 / logits.shape[1], images)


def _check_logits(logits: object, what: str) -> None:
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.ndim != 2:
        kind = f"{dtype_name(logits)} " if isinstance(logits, Tensor) else ""
        raise MilrError(f"{what} must be floats [Q, classes], not {kind}{described(logits)}")
    if not len(logits):
        raise MilrError("decide gives no row of logits: there is no decision to explain")


def _checked_values(given: Decided, device: torch.device, look: bool) -> Decided:
    """A user's `Decided` with loss and score [Q]."""
    for name, value in (("loss", given.loss), ("score", given.score)):
        if not isinstance(value, Tensor) or value.ndim > 1 or not value.numel() or value.is_complex():
            raise MilrError(f"the {name} of decide must be a tensor [Q] or [] of numbers, not {described(value)}")
    if not given.loss.is_floating_point():
        raise MilrError(f"the loss of decide is {dtype_name(given.loss)}: give floats, whose gradient can be taken")
    loss, score = given.loss.reshape(-1).to(device), given.score.detach().reshape(-1).to(device, given.loss.dtype)
    if 1 != len(loss) != len(score) != 1:
        raise MilrError(
            f"decide gives {len(loss)} losses and {len(score)} scores: give one of each for every item, or scalars"
        )
    if (look or device.type == "cpu") and (high := float(score.max())) > 1:
        raise MilrError(f"the score of decide is {high:.3g}: it is 1 for what is right, and never higher")
    if given.logits is None:
        return replace(given, loss=loss, score=score)
    _check_logits(given.logits, "the logits of decide")
    return replace(given, loss=loss, score=score, logits=given.logits.to(device))


def _labels(given: object, rows: int) -> Tensor:
    wrong = MilrError(f"the labels of decide must be class numbers [Q], not {described(given)}")
    if isinstance(given, list | tuple | np.ndarray) and len(given):
        try:
            given = torch.as_tensor(given)
        except (TypeError, ValueError, RuntimeError):
            raise wrong from None
    if not isinstance(given, Tensor):
        raise wrong
    if given.ndim == 2 and given.shape[1] > 1 and bool(((given == 0) | (given == 1)).all()):
        raise MilrError(f"{wrong}: of one-hot rows labels.argmax(1)")
    if given.is_floating_point() or given.is_complex():
        raise MilrError(f"the labels of decide are {dtype_name(given)}: {_float_hint(given)}")
    if given.ndim != 1:
        raise MilrError(f"{wrong}{': of a column labels.flatten()' * (given.shape[1:] == (1,))}")
    if len(given) != rows:
        raise MilrError(f"decide gives {rows} rows of logits and {len(given)} labels: one label a row")
    return given.detach().long()


def _float_hint(labels: Tensor) -> str:
    """What to give instead of labels that are floats: long() makes zeros of most that are no class numbers."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        return (
            "of soft labels [Q, classes] give a milr.Decided, whose loss is cross_entropy(logits, labels, "
            "reduction='none'), or labels.argmax(1)"
        )
    if labels.is_complex() or not bool((labels == labels.round()).all()):
        return "they are no class numbers; of numbers to predict milr.regress, decision='regression'"
    return "give class numbers, as integers (labels.long())"


def require_classes(labels: Tensor, classes: int) -> None:
    """MilrError for a label that is no class."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        bad = low if low < 0 else high
        hint = " (counted from 1? give labels - 1)" if low > 0 and high == classes else ""
        hint = (
            " (to be ignored? leave out their images, or their rows of the output and of the labels)"
            if bad in IGNORED
            else hint
        )
        raise MilrError(f"decide gives the label {bad} for {classes} classes: they go from 0 to {classes - 1}{hint}")
