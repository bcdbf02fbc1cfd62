"""What the two passes over a network give, and the checks of what they rest on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from milr.errors import MilrError
from milr.networks.dependence import Dependence
from milr.networks.inputs import Inputs, count, join, main_tensor, take, tensors_of, with_main
from milr.networks.probes import first_difference, not_finite, random_network, same

Result = TypeVar("Result")

ANOTHER = 0.1  # of its norm: what no rounding makes of a result, also of 16 bits or in a batch of another size


@dataclass(frozen=True)
class FirstPass:
    """What the untouched network computes from K images, in float32."""

    local: Tensor  # x, the local features [K, C, H, W]; of a sequence [K, C, 1, T]
    representation: Tensor  # z [K, D]
    stages: tuple[Tensor, ...]  # the features of each layer that the mask reads, [K, C_s, H_s, W_s]
    output: Tensor  # what the network itself returns [K, E]


@dataclass(frozen=True)
class SecondPass:
    """What the upper part computes from occluded local features."""

    representation: Tensor  # z' [K, D]
    output: Tensor  # [K, E]


class Passes(Protocol):
    """The layer pair as far as the checks know it."""

    network: nn.Module
    local: str
    z: str

    @property
    def rounding(self) -> torch.dtype: ...

    def first_pass(self, images: Inputs) -> FirstPass: ...

    def pass_above(self, occluded: Tensor, below: Inputs) -> SecondPass: ...


def check_passes(pair: Passes, probes: Inputs, others: Inputs, before: str) -> tuple[bool, bool]:
    """Whether the network takes one image alone, and whether one is enough below the local layer.

    Seen on two batches of which the first image is the same. `before` is the block before the last, where the local
    layer is in that or behind it. MilrError where the passes would not give what they must.
    """
    if damaged := not_finite(pair.network):
        raise MilrError(
            f"the network is damaged: {len(damaged)} of its tensors hold nan or inf, '{damaged[0]}' among them"
        )
    first, beside_another = pair.first_pass(probes), pair.first_pass(others)
    _check_first(pair, first, probes)
    again = _attempt(pair, first.local, probes)
    _check_repeats(pair, first, again, probes)
    _check_rows(pair, first, beside_another, probes, others)
    changed = _attempt(pair, beside_another.local, probes)
    if torch.equal(changed.representation, again.representation):
        raise _unread(pair, before)
    # 1. The part below sees other images, then 2. one image only: does the upper part notice?
    one_below = _reads_local_alone(pair, first.local, others, again)
    one_below = one_below and _works_on_one(pair, first.local, take(others, slice(0, 1)), again)
    return _same_alone(pair, first, probes), one_below


def _check_first(pair: Passes, first: FirstPass, probes: Inputs) -> None:
    """MilrError unless the first pass gives a row for each image, finite features, and lets gradients through."""
    if not torch.is_inference_mode_enabled() and any(one.is_inference() for one in _tensors(first)):
        raise MilrError(
            "the network's forward runs under torch.inference_mode, so no gradient can pass it: take that out (the "
            "caller's own is no matter)"
        )
    if len(first.output) != count(probes):
        raise MilrError(
            f"the network gives {list(first.output.shape)} for {count(probes)} images: it must give a row for each"
        )
    for name, features in ((pair.local, first.local), (pair.z, first.representation)):
        if not features.isfinite().all():
            value = "nan" if features.isnan().any() else "inf"
            raise MilrError(
                f"layer '{name}' gives {value} for noise in the range of the example: pass real images as one, or "
                "look at the network's weights and buffers"
            )


def _unread(pair: Passes, before: str) -> MilrError:
    """What is to be said where the representation does not depend on the local layer."""
    why = hint = ""
    if before:
        why = ": a class token no longer depends on its last block's patches"
        hint = f", for example local={before}"
    elif isinstance(dict(pair.network.named_modules()).get(pair.local), nn.RNNBase):
        hint = " (where the network reads a recurrent layer's last state, an nn.Identity() put before that layer)"
    return MilrError(
        f"the global layer '{pair.z}' gives the same whatever the local layer '{pair.local}' gives{why}: name "
        f"layers of which the second depends on the first{hint}"
    )


def _check_rows(pair: Passes, first: FirstPass, other: FirstPass, probes: Inputs, others: Inputs) -> None:
    """MilrError unless the first image's features are the same beside another image, and behind it.

    What goes through the images as if they were times (a recurrent layer without `batch_first`) keeps the first as it
    is, and so may one that sorts them.
    """
    behind, crowd = take(others, torch.tensor([1, 0])), join([others, probes])
    passes = _tensors(first), _tensors(other), _tensors(pair.first_pass(behind))
    for one, two, three in zip(*passes, strict=True):
        if not same(one[0], two[0], pair.rounding) or not same(one[0], three[1], pair.rounding):
            raise _mixed(pair, probes, others)
    if faint := _faint_and_not(probes):
        own, beside = (pair.first_pass(batch).output[0] for batch in faint)
        if not same(own, beside, pair.rounding):
            raise _mixed(pair, *faint)
    among = _result_of(lambda: pair.first_pass(crowd))  # it may take batches of one size only
    for one, four in zip(_tensors(first), _tensors(among) if among else (), strict=False):
        if another(one[0], four[0]) or another(one[0], four[2]):
            raise _mixed(pair, probes, crowd)


def _faint_and_not(probes: Inputs) -> tuple[Inputs, Inputs] | None:
    """A picture of half the contrast beside itself, and beside one of all of it; None of words.

    Noise is cut off where the example ends, so that all of it has one largest value: by that of the batch a network may
    scale its images.
    """
    main = main_tensor(probes)
    if not main.is_floating_point():
        return None
    faint = (main[:1] + main[:1].mean()) / 2
    return with_main(probes, torch.cat([faint, faint])), with_main(probes, torch.cat([faint, main[1:2]]))


def check_alone(pair: Passes, images: Inputs, first: FirstPass) -> None:
    """MilrError where real images have other results in another order, or the last alone, than in their first pass.

    Noise need not show that: experts, say, have room for so many images of a batch, and texts are sorted by length. Nor
    need an order or a batch of another size, whose rounding is another: so the last is tried among copies of itself,
    too.
    """
    order = torch.arange(count(images)).flip(0)
    last, known = take(images, order[:1]), [one.flip(0) for one in _tensors(first)]
    for batch in (take(images, order), last):
        now = _tensors(pair.first_pass(batch))
        if any(another(one[: len(two)], two) for one, two in zip(known, now, strict=True)):
            raise _mixed(pair, images, last, row=-1)
    copies = take(images, order[:1].expand(count(images)))
    now = _tensors(pair.first_pass(copies))
    if not all(same(one[0], two[-1], pair.rounding) for one, two in zip(known, now, strict=True)):
        raise _mixed(pair, images, copies, row=-1)


def another(one: Tensor, other: Tensor) -> bool:
    """Whether two results are not the same: far beyond the rounding of batches of two sizes."""
    return one.shape == other.shape and bool(
        (one - other).nan_to_num(0.0).norm() > ANOTHER * one.nan_to_num(0.0, 0.0, 0.0).norm()
    )


def _mixed(pair: Passes, probes: Inputs, others: Inputs, row: int = 0) -> MilrError:
    if not _same_again(pair, probes):
        return random_network(pair.network, probes, pair.rounding)
    where = first_difference(pair.network, probes, others, pair.rounding, row)
    return MilrError(
        f"what the network gives for an image depends on the other images of the batch: {where} mixes them, also in "
        "eval(), as batch normalisation without running statistics does, experts that take so many images of a batch "
        "each, texts sorted by length, or a recurrent layer without batch_first=True"
    )


def _check_repeats(pair: Passes, first: FirstPass, again: SecondPass, probes: Inputs) -> None:
    """MilrError unless the second pass over untouched local features gives what the first did."""
    if _same_above(pair, first, again):
        return
    if _same_above(pair, first, pair.first_pass(probes)):
        raise MilrError(
            f"putting the output of '{pair.local}' back in its place changes what comes after: the network "
            "reads that layer in another way too; name another local layer"
        )
    raise random_network(pair.network, probes, pair.rounding)


def _attempt(pair: Passes, local: Tensor, below: Inputs) -> SecondPass:
    with torch.no_grad():
        return pair.pass_above(local, below)


def _same_alone(pair: Passes, first: FirstPass, probes: Inputs) -> bool:
    """Whether the network takes one image alone. MilrError where it gives another result for it then."""
    image, last = take(probes, slice(0, 1)), take(probes, slice(1, 2))
    alone = _result_of(lambda: pair.first_pass(image))  # it may not take shapes without the dimension of the images
    if alone is None:
        return False
    pairs = list(zip(_tensors(first), _tensors(alone), strict=True))
    if any(another(whole[:1], one) for whole, one in pairs):
        raise _mixed(pair, probes, image)
    if any(
        another(whole[1:], one) for whole, one in zip(_tensors(first), _tensors(pair.first_pass(last)), strict=True)
    ):
        raise _mixed(pair, take(probes, torch.tensor([1, 0])), last)
    return all(same(whole[:1], one, pair.rounding) for whole, one in pairs)


def _reads_local_alone(pair: Passes, local: Tensor, below: Inputs, whole: SecondPass) -> bool:
    images = Dependence(*tensors_of(below).values())
    with images:
        attempt = _result_of(lambda: _attempt(pair, local, below))  # some operations cannot be followed
    return attempt is not None and _equal(attempt, whole) and not images.reached(attempt.representation, attempt.output)


def _works_on_one(pair: Passes, local: Tensor, below: Inputs, whole: SecondPass) -> bool:
    attempt = _result_of(lambda: _attempt(pair, local, below))  # a network that took shapes from its input's fails
    return attempt is not None and _equal(attempt, whole)


def _same_above(pair: Passes, first: FirstPass, other: FirstPass | SecondPass) -> bool:
    return same(other.representation, first.representation, pair.rounding) and same(
        other.output, first.output, pair.rounding
    )


def _same_again(pair: Passes, images: Inputs) -> bool:
    """Whether two passes over the same images give the same."""
    passes = _tensors(pair.first_pass(images)), _tensors(pair.first_pass(images))
    return all(same(one, other, pair.rounding) for one, other in zip(*passes, strict=True))


def _result_of(compute: Callable[[], Result]) -> Result | None:
    """What a computation gives; None if it fails, of anything but want of memory."""
    try:
        return compute()
    except torch.cuda.OutOfMemoryError:  # of any device; torch 2.4 has it under this name alone
        raise
    except Exception:  # whatever a network raises
        return None


def _tensors(first: FirstPass) -> tuple[Tensor, ...]:
    return (first.local, first.representation, *first.stages, first.output)


def _equal(one: SecondPass, other: SecondPass) -> bool:
    return torch.equal(one.representation, other.representation) and torch.equal(one.output, other.output)
