"""The mask of the pictures at hand, refined from the amortised one for their own decision or for a target."""

from __future__ import annotations

import torch
from torch import Tensor

from milr.decisions.inputs import described
from milr.errors import MilrError
from milr.explanation.modules import Modules
from milr.explanation.settings import MilrSettings
from milr.explanation.targets import OwnDecision, Target, own_class
from milr.information.bottleneck import noise_like, occlude
from milr.networks.inputs import Inputs
from milr.networks.layers import FirstPass, LayerPair, frozen
from milr.text import first_line

RATE, BETAS = 1.0, (0.5, 0.9)  # of Adam on the scores behind the mask: its usual betas remember more than ten steps
AVERAGED = 5  # steps at the end whose scores' mean is the refined mask: each depends on its own draw of noise


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

    For the picture's own decision it is one for each channel, also where the amortised one is shared by all; towards a
    target it is as the amortised one is, since its channels could say the class that its places should show. What
    passes is to be sufficient, and needed, which the steps ask in turn: the first, third, ... lower the target's loss
    of what passes; the others raise the target's loss of what does not pass (the mask turned over) up to that of noise
    alone. Each lowers beta times the mean nats per place and channel too. Alpha has no part in it: what a picture knows
    beside the target is not asked for. Each step has one draw of noise, the same for every image: a map must not depend
    on its batch. Without a target it is the classifier's own decision. MilrError for a target that gives no loss of
    each image, or none with a gradient.
    """
    target = target or own_class(first)
    scores = modules.mask.scores(first.stages, layers.grid).detach()
    channels = first.local.shape[1] if isinstance(target, OwnDecision) else -1
    scores = scores.expand(-1, channels, -1, -1).clone().requires_grad_()
    mean = torch.zeros_like(scores, requires_grad=False)
    optimiser = torch.optim.Adam([scores], lr=RATE, betas=BETAS)
    generator = torch.Generator().manual_seed(0)
    noise = noise_like(modules.local, first.local, torch.Generator().manual_seed(1), one_for_all=True)
    alone = occlude(first.local, torch.zeros_like(first.local), settings.mask.fill, noise)  # nothing passes
    nothing = one_each(target(layers.second_pass(alone, images).output), len(alone)).detach()
    with torch.enable_grad(), frozen(layers.network):
        for step in range(steps):
            mask = modules.mask.opened(scores)
            noise = noise_like(modules.local, first.local, generator, one_for_all=True)
            occluded, rest = (occlude(first.local, part, settings.mask.fill, noise) for part in (mask, 1 - mask))
            needed = step % 2 == 1
            output = layers.second_pass(rest if needed else occluded, images).output
            missed = checked(target(output), len(mask))
            passed = modules.bottleneck.nats(mask, first.local, occluded).mean((1, 2)) / layers.local_shape[0]
            loss = ((nothing - missed).relu() if needed else missed) + settings.beta * passed
            optimiser.zero_grad()
            gradients_of(loss.sum(), scores)  # images do not touch each other
            optimiser.step()
            if steps - step <= AVERAGED:
                mean += scores.detach() / min(steps, AVERAGED)
    return modules.mask.opened(mean)


def gradients_of(loss: Tensor, scores: Tensor) -> None:
    """The loss's gradient at the scores alone; MilrError where parts are computed again, or were changed in place."""
    try:
        torch.autograd.backward(loss, inputs=[scores])
    except RuntimeError as error:  # of torch's checkpoints, of both kinds
        if "inplace operation" in str(error):
            raise MilrError(
                f"the network, or the target, changes in place what the backward pass needs: {first_line(error)}"
            ) from error
        if "heckpoint" not in str(error):
            raise
        raise MilrError("the network computes a part again in the backward pass: turn checkpointing off") from error


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
