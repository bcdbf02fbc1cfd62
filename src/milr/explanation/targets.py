"""What a mask is refined towards: a class, an embedding, or a function of the network's output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from milr.decisions.decision_kinds import numbers
from milr.decisions.inputs import described, require_one_argument
from milr.default_device import on_the_users
from milr.errors import MilrError
from milr.networks.inputs import Inputs, count
from milr.networks.layers import FirstPass
from milr.networks.prototypes import logits
from milr.networks.settings import MetricSettings

Target = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class OwnDecision:
    """The target of a picture that is asked for nothing but what the untouched network decides about it."""

    loss: Target  # of each image [K]

    def __call__(self, output: Tensor) -> Tensor:
        return self.loss(output)


COSINE = MetricSettings("cosine", 0.1)


def towards_class(classes: Tensor | int, decide: Callable[[Tensor], Tensor] | None = None) -> Target:
    """A target for `MILR.maps`: why this class, whether or not the network decides for it.

    Args:
        classes: class numbers [K], or one for all images.
        decide: output [K, E] -> logits [K, classes], where the output is none itself: a head, or a comparison with
            prototypes.

    Returns:
        A function of outputs [K, E]: the cross-entropy of each image in nats [K].

    Example:
        >>> import milr, torch
        >>> target = milr.towards_class(torch.tensor([0, 1]))
        >>> target(torch.tensor([[4.0, 0.0], [4.0, 0.0]]))
        tensor([0.0181, 4.0181])
    """

    def loss(output: Tensor) -> Tensor:
        """The cross-entropy of each image [K]."""
        scores = decide(output) if decide else output
        wanted = class_numbers(classes, len(scores))
        if not 0 <= int(wanted.min()) <= int(wanted.max()) < scores.shape[1]:
            raise MilrError(f"the target is class {wanted.tolist()} of {scores.shape[1]}, counted from 0")
        return cross_entropy(scores, wanted.to(scores.device), reduction="none")

    return loss


def class_numbers(given: Any, images: int) -> Tensor:
    """One class number for each image [images]; MilrError for anything else."""
    try:
        numbers = torch.as_tensor(given, device="cpu")
        if numbers.is_floating_point() or numbers.dtype == torch.bool:
            raise TypeError
        return numbers.long().flatten().expand(images)
    except (TypeError, ValueError, RuntimeError):
        what = described(given)
        raise MilrError(
            f"the target is {what}: a class number, or one for each of the {images} images, or a function of the "
            "network's output, as milr.towards(embedding)"
        ) from None


def towards(embedding: Tensor, against: Tensor | None = None, metric: MetricSettings = COSINE) -> Target:
    """A target for `MILR.maps`: why like this embedding, of a prototype, a partner picture or a text.

    Args:
        embedding: [E], or one for each image [K, E].
        against: [M, E], what it is preferred to: other prototypes, or pictures that it is not like. None: nothing.
        metric: how outputs are compared with embeddings. For one that centres, subtract the mean before, on both sides.

    Returns:
        A function of outputs [K, E]: the cross-entropy in nats [K]; without `against` the distance over the
        temperature (of the cosine, one minus it).

    Raises:
        MilrError: for a metric that centres.

    Example:
        >>> import milr, torch
        >>> partner, other = torch.eye(2)
        >>> milr.towards(partner)(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
        tensor([ 0., 10.])
        >>> milr.towards(partner, against=other[None])(torch.tensor([[1.0, 1.0]]))
        tensor([0.6931])
    """
    if not isinstance(metric, MetricSettings):
        raise MilrError(f"milr.towards(..., metric={described(metric)}): a milr.networks.settings.MetricSettings")
    embedding = embeddings(embedding, "the embedding")
    against = None if against is None else torch.atleast_2d(embeddings(against, "what it is preferred to"))
    if against is not None and against.shape[1] != embedding.shape[-1]:
        raise MilrError(f"milr.towards compares {embedding.shape[-1]} numbers with {against.shape[1]}: as many of each")
    if metric.distance == "cosine" and not embedding.any(-1).all():
        raise MilrError("milr.towards compares directions, and an embedding of zeros has none: was it filled?")
    if metric.centre:
        raise MilrError(
            "milr.towards takes no metric with centre=True, since it knows no mean: subtract the mean from the "
            "embeddings, and from the output in a function of your own, and leave centre out"
        )

    def similarity(output: Tensor, others: Tensor) -> Tensor:
        """Of each output to its own others [K, M, E], as the metric scores it [K, M]."""
        return logits(output[:, None], others, metric)[:, 0]

    def loss(output: Tensor) -> Tensor:
        """How much less like the embedding than it might be [K]."""
        if embedding.shape[-1] != output.shape[1]:
            raise MilrError(
                f"milr.towards has embeddings of {embedding.shape[-1]} numbers, and the network gives "
                f"{output.shape[1]}: take them from the network's own output"
            )
        if embedding.ndim == 2 and len(embedding) not in (1, len(output)):
            raise MilrError(
                f"milr.towards has {len(embedding)} embeddings for {len(output)} images: a function as target gets the "
                f"outputs of a batch at a time, batch_size={len(embedding)} those of all"
            )
        own = similarity(output, embedding.to(output).expand(len(output), -1)[:, None])
        if against is None:
            best = 1 / metric.temperature if metric.distance == "cosine" else 0.0
            return best - own[:, 0]
        scores = torch.cat([own, similarity(output, against.to(output).expand(len(output), -1, -1))], 1)
        return cross_entropy(scores, torch.zeros_like(scores[:, 0], dtype=torch.long), reduction="none")

    return loss


def embeddings(given: Any, what: str) -> Tensor:
    """[E] or [K, E], finite numbers; MilrError for anything else."""
    values = numbers(given, f"{what} of milr.towards")
    if values.ndim not in (1, 2):
        raise MilrError(f"{what} of milr.towards is [E] or [K, E], not {described(given)}")
    return values


def checked_target(steps: object, target: object, images: int) -> Target | None:
    """The target of so many images as a function; MilrError for no number of steps, or a target of none."""
    if not isinstance(steps, Integral) or isinstance(steps, bool) or steps < 0:
        raise MilrError(f"maps(images, refine={steps!r}): a number of steps, 10 for example, or 0 for none")
    if target is None:
        return None
    if not steps:
        raise MilrError("maps(images, target): a target counts in the refinement alone, give the steps too, refine=10")
    if isinstance(target, OwnDecision):
        return OwnDecision(on_the_users()(target.loss))
    if not callable(target):
        return towards_class(class_numbers(target, images))
    function = target.forward if isinstance(target, nn.Module) else target
    use = "the target is called with the network's output [K, E] alone, and gives a loss of each image"
    require_one_argument(function, use)
    return on_the_users()(target)


def targets_of(parts: Sequence[Inputs], target: Any) -> list[Any]:
    """The target of each part: its own class numbers, or the function that is given."""
    if target is None or callable(target):
        return [target] * len(parts)
    sizes = [count(part) for part in parts]
    return list(class_numbers(target, sum(sizes)).split(sizes))


def own_class(first: FirstPass) -> OwnDecision:
    """The class that the untouched network decides for. MilrError for one whose output is the representation."""
    output = first.output
    if output.shape == first.representation.shape and torch.equal(output, first.representation):
        raise MilrError(
            "maps(images, refine): the network's output is z itself and decides nothing: name a target, "
            "milr.towards(embedding) or milr.towards_class(classes, decide)"
        )
    if output.shape[1] < 2:
        raise MilrError(
            "maps(images, refine): the network gives one number, and one number decides for no class: give a target, a "
            "function that makes a loss of the output"
        )
    return OwnDecision(towards_class(output.argmax(1)))
