"""The mask of the pictures at hand, refined from the amortised one for their own decision or for a target."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from milr.decisions.inputs import described
from milr.default_device import on_the_users
from milr.errors import MilrError
from milr.explanation.modules import Modules
from milr.explanation.settings import MilrSettings
from milr.information.bottleneck import noise_like, occlude
from milr.networks.inputs import Inputs
from milr.networks.layers import FirstPass, LayerPair, frozen
from milr.networks.prototypes import logits
from milr.networks.settings import MetricSettings

Target = Callable[[Tensor], Tensor]

RATE, BETAS = 1.0, (0.5, 0.9)  # of Adam on the scores behind the mask: its usual betas remember more than ten steps
AVERAGED = 5  # steps at the end whose scores' mean is the refined mask: each depends on its own draw of noise
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


def class_numbers(given: Any, count: int) -> Tensor:
    """One class number for each image [count]; MilrError for anything else."""
    try:
        numbers = torch.as_tensor(given, device="cpu")
        if numbers.is_floating_point() or numbers.dtype == torch.bool:
            raise TypeError
        return numbers.long().flatten().expand(count)
    except (TypeError, ValueError, RuntimeError):
        what = described(given)
        raise MilrError(
            f"the target is {what}: a class number, or one for each of the {count} images, or a function of the "
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
    if metric.centre:
        raise MilrError("milr.towards knows no mean: subtract it from the embeddings and, in a function, the output")

    def similarity(output: Tensor, others: Tensor) -> Tensor:
        """Of each output to its own others [K, M, E], as the metric scores it [K, M]."""
        return logits(output[:, None], others, metric)[:, 0]

    def loss(output: Tensor) -> Tensor:
        """How much less like the embedding than it might be [K]."""
        own = similarity(output, embedding.to(output).expand(len(output), -1)[:, None])
        if against is None:
            best = 1 / metric.temperature if metric.distance == "cosine" else 0.0
            return best - own[:, 0]
        scores = torch.cat([own, similarity(output, against.to(output).expand(len(output), -1, -1))], 1)
        return cross_entropy(scores, torch.zeros_like(scores[:, 0], dtype=torch.long), reduction="none")

    return loss


def refined_mask(
    settings: MilrSettings,
    layers: LayerPair,
    modules: Modules,
    first: FirstPass,
    images: Inputs,
    steps: int,
    target: Target | None,
) -> Tensor:
    """The mask [K, C, H, W] after some steps of Adam from the amortised one, each image's on its own.

    It is one for each channel, also where the amortised one is shared by all. What passes is to be sufficient, and
    needed, which the steps ask in turn: the first, third, ... lower the target's loss of what passes; the others raise
    the target's loss of what does not pass (the mask turned over) up to that of noise alone. Each lowers beta times the
    mean nats per place and channel too. Alpha has no part in it: what a picture knows beside the target is not asked
    for. Each step has one draw of noise, the same for every image: a map must not depend on its batch. Without a target
    it is the classifier's own decision. MilrError for a target that gives no loss of each image, or none with a
    gradient.
    """
    target = target or own_class(first)
    scores = modules.mask.scores(first.stages, layers.grid).detach()
    scores = scores.expand(-1, first.local.shape[1], -1, -1).clone().requires_grad_()
    mean = torch.zeros_like(scores, requires_grad=False)
    optimiser = torch.optim.Adam([scores], lr=RATE, betas=BETAS)
    generator = torch.Generator().manual_seed(0)
    noise = noise_like(modules.local, (1, *layers.local_shape), torch.Generator().manual_seed(1)).to(first.local.dtype)
    alone = occlude(first.local, torch.zeros_like(first.local), settings.mask.fill, noise)  # nothing passes
    nothing = one_each(target(layers.second_pass(alone, images).output), len(alone)).detach()
    with torch.enable_grad(), frozen(layers.network):
        for step in range(steps):
            mask = modules.mask.opened(scores)
            noise = noise_like(modules.local, (1, *layers.local_shape), generator).to(first.local.dtype)
            occluded, rest = (occlude(first.local, part, settings.mask.fill, noise) for part in (mask, 1 - mask))
            needed = step % 2 == 1
            output = layers.second_pass(rest if needed else occluded, images).output
            missed = checked(target(output), len(mask))
            passed = modules.bottleneck.nats(mask, first.local, occluded).mean((1, 2)) / layers.local_shape[0]
            loss = ((nothing - missed).relu() if needed else missed) + settings.beta * passed
            optimiser.zero_grad()
            torch.autograd.backward(loss.sum(), inputs=[scores])  # images do not touch each other
            optimiser.step()
            if steps - step <= AVERAGED:
                mean += scores.detach() / min(steps, AVERAGED)
    return modules.mask.opened(mean)


def checked_target(steps: object, target: object, count: int) -> Target | None:
    """The target of `count` images as a function; MilrError for no number of steps, or a target of none."""
    if not isinstance(steps, Integral) or isinstance(steps, bool) or steps < 0:
        raise MilrError(f"maps(images, refine={steps!r}): a number of steps, 10 for example, or 0 for none")
    if target is None:
        return None
    if not steps:
        raise MilrError("maps(images, target): give the steps too, refine=10")
    return on_the_users()(target) if callable(target) else towards_class(class_numbers(target, count))


def own_class(first: FirstPass) -> Target:
    """The class that the untouched network decides for. MilrError for one whose output is the representation."""
    output = first.output
    if output.shape == first.representation.shape and torch.equal(output, first.representation):
        raise MilrError(
            "maps(images, refine): the network's output is z itself and decides nothing: name a target, "
            "milr.towards(embedding) or milr.towards_class(classes, decide)"
        )
    if output.shape[1] < 2:
        raise MilrError("maps(images, refine): one number decides for no class: name a target, a loss of the output")
    return towards_class(output.argmax(1))


def one_each(loss: object, count: int) -> Tensor:
    """A target's loss [K]; MilrError for anything else."""
    if not isinstance(loss, Tensor) or loss.shape != (count,):
        raise MilrError(f"a target gives a loss of each image, [{count}], not {described(loss)}")
    return loss


def checked(loss: object, count: int) -> Tensor:
    """The same with a gradient; MilrError for one without."""
    given = one_each(loss, count)
    if not given.requires_grad:
        raise MilrError("the target's loss has no gradient to the output that it gets: no detach, no NumPy in it")
    return given
