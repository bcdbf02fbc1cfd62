"""Features of the fit's own batches and of what the mask lets pass of them: what the critic is fitted to at last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from milr.explanation.decisions import Batch, checked_batch
from milr.explanation.features import Features, scale_of, stored
from milr.explanation.milr import MILR
from milr.explanation.modules import in_half
from milr.information.bottleneck import noise_like, occlude
from milr.networks.layers import FirstPass

IMAGES = 4096  # of the fit's batches at most, to which the critic is fitted with what their masks let pass
PLACES = 256  # of each image at most


def some_batches(batches: Callable[[int], Batch], images: int) -> Iterator[Batch]:
    """The fit's first batches, of so many images together."""
    count = step = 0
    while count < images:
        step += 1
        batch = batches(step)
        count += len(batch.images)
        yield batch


@torch.no_grad()
def batch_features(explainer: MILR, batches: Iterable[Batch], masked: bool, seed: int = 0) -> Features:
    """Features of batches' images at a sample of the places; `masked`: with what the mask lets pass of them too.

    MilrError for what is no batch.
    """
    layers, modules = explainer.layers, explainer.ready().eval()
    device = modules.bank.local.device
    noise = torch.Generator(device).manual_seed(seed)
    count = layers.local_shape[1] * layers.local_shape[2]
    places = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:PLACES].sort().values
    scale, parts = 0.0, []
    for number, given in enumerate(batches, 1):
        batch = checked_batch(given, layers, f"batch {number}")
        first = layers.first_pass(batch.images)
        scale = scale or scale_of(first.local)
        part = {"local": stored(first.local, places, scale), "representation": first.representation.float().cpu()}
        if masked:
            occluded = passed(explainer, first, noise)
            if explainer.settings.redundancy == "occluded":
                part["occluded"] = stored(occluded, places, scale)
            else:
                part["masked"] = layers.second_pass(occluded, batch.images).representation.float().cpu()
        parts.append(part)
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return Features(**joined, places=places, scale=scale)


def passed(explainer: MILR, first: FirstPass, noise: torch.Generator) -> Tensor:
    """x' [K, C, H, W], what the mask lets pass, with noise of its own for each image."""
    modules = explainer.modules
    mask = modules.mask(first.stages, explainer.layers.grid)
    draw = noise_like(modules.local, tuple(first.local.shape), noise).to(first.local.dtype)
    return occlude(first.local, mask, explainer.settings.mask.fill, draw)


@torch.no_grad()
def fill_bank(explainer: MILR, batches: Iterable[Batch], seed: int = 0) -> None:
    """Puts x' of the batches' first images at all places into the bank: what a map's x' is compared with."""
    modules = explainer.ready().eval()
    bank = modules.bank
    noise = torch.Generator(bank.local.device).manual_seed(seed)
    parts: list[Tensor] = []
    for given in batches:
        batch = checked_batch(given, explainer.layers, "a batch of the fit")
        occluded = modules.local(passed(explainer, explainer.layers.first_pass(batch.images), noise))
        parts.append(in_half(occluded.flatten(2).transpose(1, 2)))
    bank.occluded = torch.cat(parts)[: len(bank.local)]
