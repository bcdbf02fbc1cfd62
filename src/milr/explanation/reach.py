"""Whether gradients reach the local features on all the ways on which the network's output depends on them."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointError

from milr.errors import MilrError
from milr.networks.inputs import Inputs, take
from milr.networks.layers import LayerPair, frozen
from milr.text import first_line

log = logging.getLogger("milr")

TRIED = 8  # images whose gradients are looked at
LITTLE = 1e-3  # of the output's norm: rounding
OTHERS = (Path(torch.__file__).parent, Path(__file__).parents[1])  # whose code is not the network's own


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
        weights = torch.randn(second.output.shape, generator=torch.Generator().manual_seed(0)).to(second.output)
        try:
            torch.autograd.backward((second.output * weights).sum())
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:  # a checkpoint, numbers that are changed in place and needed
            why = first_line(error)
            if isinstance(error, CheckpointError):
                why = "the layer lies in a part that is computed again there: turn checkpointing off"
            elif "inplace operation" in why:
                why = changed_in_place(lambda: (layers.second_pass(local, images).output * weights).sum(), str(error))
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


def changed_in_place(forward: Callable[[], Tensor], error: str) -> str:
    """Which step's result the backward pass misses, in which line of the network's code, by torch's anomaly mode."""
    with warnings.catch_warnings(record=True) as caught, torch.autograd.set_detect_anomaly(True, check_nan=False):
        warnings.simplefilter("always")
        with suppress(RuntimeError):
            torch.autograd.backward(forward())
    frames = re.findall(r'File "(.+)", line (\d+), in .+\n +(.+)', "".join(str(one.message) for one in caught))
    own = [frame for frame in frames if not any(Path(frame[0]).is_relative_to(other) for other in OTHERS)]
    made = re.search(r"output \d+ of (\w+?)(?:Backward\d*)?,", error)
    what = f"the result of {made[1] if made else 'a step'}"
    if frames:
        file, line, code = (own or frames)[-1]
        what += f" in '{code}' ({file}, line {line})"
    return f"{what} is changed in place afterwards, and needed there: no x += 1, no relu_(), inplace=False"
