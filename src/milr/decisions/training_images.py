"""The training images that `prepare` reads: how many there are, in batches, each checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import index
from typing import Any

from torch import Tensor

from milr.decisions.inputs import described, images_of
from milr.errors import MilrError
from milr.networks.inputs import Inputs, split, tensors_of
from milr.networks.inputs import count as rows
from milr.networks.layers import LayerPair

AT_ONCE = 32  # images of a batch, where `prepare` is given all of them as one tensor
UNBATCHED = (
    "has no len()",
    "default_collate: batch must contain",
    "each tensor to be equal size",
    "each element in list of batch",
)
NO_IMAGES = "prepare got no images: is the generator used up, or the data set empty?"


def image_count(images: object) -> int:
    """The number of images that `prepare` is given. MilrError for what is no whole number, or fewer than two."""
    try:
        count = index(images)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        raise MilrError(
            f"prepare(batches, images): images is the number of images, a whole number, not {described(images)}"
        ) from None
    if count < 2:
        raise MilrError(f"prepare(batches, images={count}): the spread of the features needs 2 or more images")
    return count


def training_batches(batches: Any, layers: LayerPair, expected: int) -> Iterator[Inputs]:
    """Batches [K, ...] of `prepare`. MilrError where they hold another number of images than expected."""
    alone = isinstance(layers.example, Tensor)
    if (isinstance(batches, Tensor) and batches.ndim == len(layers.input_shape) + 1) or (
        isinstance(batches, Mapping) and not alone
    ):
        batches = split(images_of(batches, layers, "the images of prepare"), AT_ONCE)
    require_batches(batches)
    count = 0
    for batch in walked(batches):
        images = images_of(batch, layers, "a batch of prepare")
        require_finite(images, count)
        count += rows(images)
        if count > expected:
            raise MilrError(f"prepare was told images={expected}, but the batches hold more: pass their real number")
        yield images
    if count == 0:
        raise MilrError(NO_IMAGES)
    if count < expected:
        hint = "pass that number (a DataLoader with drop_last=True, and a used generator, give fewer)"
        raise MilrError(f"prepare was told images={expected}, but the batches hold {count}: {hint}")


def require_batches(batches: object) -> None:
    """MilrError for what gives no batches."""
    if not isinstance(batches, Iterable) and not hasattr(batches, "__getitem__"):
        raise MilrError(f"prepare takes batches of images (a DataLoader, images.split(32)), not {described(batches)}")


def walked(loader: Iterable[Any]) -> Iterator[Any]:
    """What the loader gives; MilrError where torch cannot make a batch of its items (PIL pictures, several sizes)."""
    batches = iter(loader)
    while True:
        try:
            item = next(batches)
        except StopIteration:
            return
        except (TypeError, RuntimeError) as error:
            if not any(sign in str(error) for sign in UNBATCHED):
                raise
            sign = next(line for line in str(error).splitlines() if any(sign in line for sign in UNBATCHED))
            raise MilrError(
                f"the loader makes no batch of its items, {sign.strip()}: give tensors of one size, by the data set's "
                "transform, or a collate_fn"
            ) from error
        yield item


def require_finite(images: Inputs, before: int) -> None:
    """MilrError for nan or inf in what `prepare` is given after so many images."""
    for name, tensor in tensors_of(images).items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            bad = int((~tensor.isfinite()).flatten(1).any(1).nonzero()[0])
            what = f"'{name}' of image" if name else "image"
            raise MilrError(f"{what} {before + bad} of those given to prepare holds nan or inf: look at how it is made")
