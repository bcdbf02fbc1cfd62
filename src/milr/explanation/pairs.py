"""Features of the fit's own batches and of what the mask lets pass of them: what the critic is fitted to at last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from milr.decisions.decisions import Batch, checked_batch
from milr.errors import MilrError
from milr.explanation.critic_fitting import HELD_OUT_SHARE
from milr.explanation.explainer import Explainer
from milr.explanation.features import GIB, Features, scale_of, stored
from milr.explanation.modules import in_half
from milr.information.bottleneck import noise_like, occlude
from milr.networks.inputs import count as rows
from milr.networks.layers import FirstPass, LayerPair

IMAGES, FEWEST_IMAGES = 4096, 1024  # of the fit's batches, to which the critic is fitted with what their masks let pass
FEWEST_PLACES = 16  # of each, where the memory budget allows fewer
SAME = 0.05  # of the spread of z: representations that are closer count as of one image


def some_batches(layers: LayerPair, batches: Callable[[int], Batch], steps: int, images: int) -> Iterator[Batch]:
    """The fit's first batches, of so many images together, or those of all its steps if these are fewer."""
    count = 0
    for step in range(1, steps + 1):
        batch = checked_batch(batches(step), layers, f"batches({step})")
        count += rows(batch.images)
        yield batch
        if count >= images:
            break


@torch.no_grad()
def batch_features(explainer: Explainer, batches: Iterable[Batch], what: str, masked: bool, seed: int = 0) -> Features:
    """Features of batches' images at a sample of the places; `masked`: with what the mask lets pass of them too.

    MilrError for what is no batch, and for features that are not finite, by `what` the batches are.
    """
    layers, modules = explainer.layers, explainer.ready().eval()
    device = modules.bank.local.device
    noise = torch.Generator(device).manual_seed(seed)
    channels, height, width = layers.local_shape
    _, most = images_and_places(explainer.settings.infomax.memory_gib, channels, height * width)
    places = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed))[:most].sort().values
    scale, parts = 0.0, []
    for number, given in enumerate(batches, 1):
        batch = checked_batch(given, layers, f"{what} {number}")
        first = layers.first_pass(batch.images)
        for name, values in ((layers.local, first.local), (layers.z, first.representation)):
            if not torch.isfinite(values).all():
                raise MilrError(f"layer '{name}' gives nan or inf for {what} {number}: look at its images' values")
        scale = scale or scale_of(first.local)
        part = {"local": stored(first.local, places, scale), "representation": first.representation.float().cpu()}
        if masked:
            occluded = passed(explainer, first, noise)
            if explainer.settings.redundancy == "occluded":
                part["occluded"] = stored(occluded, places, scale)
            else:
                part["masked"] = layers.second_pass(occluded, batch.images).representation.float().cpu()
        parts.append(part)
    joined = {name: torch.cat([part.pop(name) for part in parts]) for name in [*parts[0]]}  # two copies of one alone
    return Features(**joined, places=places, scale=scale)


def images_and_places(memory_gib: float, channels: int, places: int) -> tuple[int, int]:
    """How many images, and places of each, fit the budget: x and x' of so many channels, in half precision.

    All places as long as `FEWEST_IMAGES` fit with them: the critic has weights of each place's own, which no other
    place fits to what the mask lets pass.
    """
    most = int(memory_gib * GIB / (2 * 2 * channels))
    images = min(IMAGES, max(FEWEST_IMAGES, most // places))
    return images, min(places, max(FEWEST_PLACES, most // images))


def passed(explainer: Explainer, first: FirstPass, noise: torch.Generator) -> Tensor:
    """x' [K, C, H, W], what the mask lets pass, with noise of its own for each image."""
    modules = explainer.modules
    mask = modules.mask(first.stages, explainer.layers.grid)
    return occlude(first.local, mask, explainer.settings.mask.fill, noise_like(modules.local, first.local, noise))


@torch.no_grad()
def fill_bank(explainer: Explainer, batches: Iterable[Batch]) -> None:
    """Puts x' of the batches' first images at all places into the bank: what a map's x' is compared with."""
    modules = explainer.ready().eval()
    bank = modules.bank
    noise = torch.Generator(bank.local.device).manual_seed(0)
    parts: list[Tensor] = []
    for given in batches:
        occluded = modules.local(passed(explainer, explainer.layers.first_pass(given.images), noise))
        parts.append(in_half(occluded.flatten(2).transpose(1, 2)))
    bank.occluded = torch.cat(parts)[: len(bank.local)]


def first_rows(representation: Tensor) -> Tensor:
    """The rows of z [P, D] that are of no image before: batches show an image again and again."""
    first = close(representation, representation).int().argmax(1)
    return (first == torch.arange(len(first))).nonzero()[:, 0]


def close(one: Tensor, other: Tensor, within: float = SAME) -> Tensor:
    """Which z of [P, D] and of [Q, D] are of one image, but for rounding and small changes of it: [P, Q]."""
    centre = other.mean(0)
    spread = (other - centre).square().sum(1).mean().sqrt()
    return torch.cdist(one - centre, other - centre) <= within * spread


def split_images(pairs: Features, known: Features | None) -> tuple[Features, Features, Features | None]:
    """Pairs to fit to, pairs to hold out, and what is `known` without the images of the latter.

    A share of the images, at least two, is held out, each once; none of them is among what the critic is fitted to.
    """
    images = first_rows(pairs.representation)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    held_out = pairs.at(images[order[: max(2, round(HELD_OUT_SHARE * len(images)))]])

    rest = without(known, held_out) if known is not None else None
    return without(pairs, held_out), held_out, rest if rest is not None and len(rest) > 1 else None


def without(features: Features, held_out: Features, within: float = SAME) -> Features:
    """The features of other images than those held out."""
    same = [close(part, held_out.representation, within).any(1) for part in features.representation.split(4096)]
    return features.at((~torch.cat(same)).nonzero()[:, 0])
