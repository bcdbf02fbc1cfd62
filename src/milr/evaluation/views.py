"""A picture's embedding from several views: as it is, mirrored, and a zoom on what the network reacts to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from milr.backbones.protonet import checked_finite
from milr.baselines.controls import activation_norm
from milr.errors import MilrError
from milr.networks.freezing import frozen
from milr.networks.inspection import Inspection
from milr.networks.layouts import Layout
from milr.networks.outputs import features_in
from milr.networks.settings import LayerSettings

TAIL = 0.05  # of the activation above its mean that is left out on each side of the square
LEAST = 0.5  # of the picture's side: the square is no smaller


@torch.no_grad()
def represent_views(network: nn.Module, batches: Iterable[Tensor], mirror: bool, zoom: bool) -> Tensor:
    """The mean of the views' embeddings, each scaled to length 1.

    Args:
        network: pictures [K, 3, S, S] -> embeddings [K, D].
        batches: of the pictures.
        mirror: mirrored views too.
        zoom: beside the whole picture the square of it that holds most of the last map's activation, enlarged.

    Returns:
        [n, D].

    Raises:
        MilrError: for `zoom`, of a network without a map; for embeddings that are not finite.
    """
    representation, last = [], None
    with frozen(network):
        for images in batches:
            views = [images]
            if zoom:
                last = last or last_map(network, images[:2])
                views.append(zoomed(images, activation(network, images, *last)))
            if mirror:
                views += [view.flip(3) for view in views]
            representation.append(torch.stack([normalize(network(view), dim=1) for view in views]).mean(0))
    return checked_finite(torch.cat(representation))


def activation(network: nn.Module, images: Tensor, module: nn.Module, layout: Layout) -> Tensor:
    """The length of the features at each place of the module's map [K, H, W]."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: object) -> None:
        """Keep the features of the run."""
        features = features_in(output)
        assert features is not None
        seen.append(layout.places(features))

    handle = module.register_forward_hook(keep)
    try:
        network(images)
    finally:
        handle.remove()
    return activation_norm(seen[-1])


def last_map(network: nn.Module, images: Tensor) -> tuple[nn.Module, Layout]:
    """The module that gives the last map of more than one place a side, and how its tensor holds the places."""
    inspection = Inspection(network, images, LayerSettings())
    for run in reversed(inspection.order):
        layout = inspection.layouts.get(id(run))
        if layout and min(layout.grid) > 1:
            return run.module, layout
    raise MilrError("test.zoom=true: the network makes no map of its pictures to zoom by; leave it out")


def zoomed(images: Tensor, activation: Tensor) -> Tensor:
    """The squares of the images [K, 3, S, S] that hold most of the activation [K, H, W], enlarged to S x S."""
    size = (images.shape[2], images.shape[3])
    parts = [
        image[None, :, top:bottom, left:right] for image, (top, bottom, left, right) in squares(images, activation)
    ]
    return torch.cat([interpolate(part, size, mode="bilinear", align_corners=False, antialias=True) for part in parts])


def squares(images: Tensor, activation: Tensor) -> Iterator[tuple[Tensor, tuple[int, int, int, int]]]:
    """Each image with the rows and columns (top, bottom, left, right) in pixels of its square."""
    side = images.shape[2]
    above = (activation - activation.mean((1, 2), keepdim=True)).clamp_min(0)
    for image, strength in zip(images, above, strict=True):
        (top, bottom), (left, right) = extent(strength.sum(1)), extent(strength.sum(0))
        length = min(1.0, max(bottom - top, right - left, LEAST))
        first_row = min(max((top + bottom - length) / 2, 0.0), 1 - length)
        first_column = min(max((left + right - length) / 2, 0.0), 1 - length)
        row, column, pixels = round(first_row * side), round(first_column * side), round(length * side)
        yield image, (row, row + pixels, column, column + pixels)


def extent(strength: Tensor) -> tuple[float, float]:
    """Where the middle of a profile [n] begins and ends, as shares of its length; of one without any strength, all."""
    total = strength.sum()
    if not total > 0:
        return 0.0, 1.0
    share = strength.cumsum(0) / total
    return int((share < TAIL).sum()) / len(share), (int((share < 1 - TAIL).sum()) + 1) / len(share)
