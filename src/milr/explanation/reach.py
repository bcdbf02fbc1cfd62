"""Whether gradients reach the local features on all the ways on which the network's output depends on them."""

from __future__ import annotations

import logging

import torch
from torch.utils.checkpoint import CheckpointError

from milr.errors import MilrError
from milr.networks.inputs import Inputs, take
from milr.networks.layers import LayerPair, frozen
from milr.text import first_line

log = logging.getLogger("milr")

TRIED = 8  # images whose gradients are looked at
LITTLE = 1e-3  # of the output's norm: rounding


def check_reach(layers: LayerPair, images: Inputs, alpha: float) -> None:
    """MilrError where no gradient reaches the local features, and a warning where none reaches some that count.

    So it is behind a rounding or a comparison, whose gradient is zero everywhere, and where a part calls detach. What
    counts is seen where those features are exchanged between the images.
    """
    images = take(images, slice(0, TRIED))
    local = layers.first_pass(images).local.requires_grad_()
    with frozen(layers.network), torch.enable_grad():
        second = layers.second_pass(local, images)
        if alpha and not second.representation.requires_grad:
            log.warning("z, '%s', has no gradient to the layer '%s': alpha does nothing", layers.z, layers.local)
        weights = torch.randn(second.output.shape, generator=torch.Generator().manual_seed(0))
        try:
            torch.autograd.backward((second.output * weights.to(second.output)).sum())
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:  # a checkpoint, numbers that are changed in place and needed
            why = first_line(error)
            if isinstance(error, CheckpointError):
                why = "the layer lies in a part that is computed again there: turn checkpointing off"
            raise MilrError(
                f"the network's backward pass to the layer '{layers.local}' fails, and no mask can be fitted: {why}"
            ) from error
    assert local.grad is not None
    still = (local.grad == 0).all(0).all(1).all(1)  # channels
    with torch.no_grad():
        changed = torch.where(still[:, None, None], local.roll(1, 0), local)
        other = layers.second_pass(changed, images).output
    if not still.any() or (other - second.output).norm() <= LITTLE * second.output.norm():
        return
    why = "rounding, comparing or choosing the highest has a gradient of zero, and detach none"
    if still.all():
        raise MilrError(
            f"the network's output depends on the layer '{layers.local}', and its gradient to it is zero everywhere: "
            f"{why}; no mask can be fitted"
        )
    log.warning(
        "the network's output depends on %d of the %d channels of '%s' without a gradient to them (%s): the mask is "
        "not fitted to what they do",
        *(int(still.sum()), len(still), layers.local, why),
    )
