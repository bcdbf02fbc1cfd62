"""`milr.MILR` as people type it: prepare and fit by a DataLoader, maps by a call, files, Captum's `attribute`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from milr.errors import MilrError
from milr.explanation.inputs import images_of
from milr.explanation.loaders import counted, example_of, first_batch
from milr.explanation.maps import KINDS, Maps, stack, upsampled
from milr.explanation.milr import MILR as Core
from milr.explanation.saving import read_state, save_state
from milr.fields import nearest
from milr.networks.inputs import Inputs, split


class MILR(Core):
    __doc__ = Core.__doc__

    def prepare(
        self,
        batches: Iterable[Any],
        images: int | None = None,
        seed: int = 0,
        views: int = 1,
        progress: bool = False,
    ) -> None:
        """Reads the training images once: the layers where there was no example, statistics, features, the bank.

        Args:
            batches: a DataLoader or anything else that can be walked, of images, of (images, labels), or of dicts.
            images: how many they hold; found if not given, by way of a temporary file for what has no length.
            seed: of what is drawn.
            views: 2 adds the mirror image of every one: more for the critic to learn from, where left is like right.
            progress: show a bar.

        Raises:
            MilrError: for batches of anything else, fewer than two images, and layers that cannot be read.
        """
        if self._layers is None:
            first, batches = first_batch(batches)
            self.read_layers(example_of(first, self.network))
        if images is None:
            batches, images = counted(batches, self.layers)
        if progress and not isinstance(batches, Tensor | Mapping):
            batches = tqdm(batches, desc="prepare", unit="batch")
        super().prepare(batches, images, seed, views)

    def __call__(self, images: Inputs, batch_size: int = 32) -> Maps:
        """The maps of images [K, 3, S, S], `batch_size` at a time: [K, H, W] in bits, or [K, T] of a sequence.

        MilrError as `maps` raises it.
        """
        parts = split(images_of(images, self.layers, "the images"), batch_size)
        return stack([self.maps(part) for part in parts])

    def attribute(self, inputs: Inputs, target: object = None, kind: str = "decision") -> Tensor:
        """A map at the inputs' own size, as Captum's `Attribution.attribute` gives it.

        Args:
            inputs: images [K, C, H, W].
            target: taken for Captum's sake. The maps explain what the fitted decision reads, whatever the target.
            kind: decision, total, kept, redundant or mask.

        Returns:
            [K, 1, H, W], bits a location of the local layer, bilinear in between; [K, T] of a sequence.

        Raises:
            MilrError: for a kind that there is not, and as `maps` raises it.

        Example:
            >>> import milr, torch, torchvision
            >>> images = torch.randn(8, 3, 32, 32)
            >>> explainer = milr.MILR(torchvision.models.resnet18(num_classes=4), "layer1", "avgpool")
            >>> explainer.prepare(images.split(4))
            >>> explainer.fitted = True  # for the example: to see maps of modules that were not fitted
            >>> explainer.attribute(images[:2], target=torch.tensor([0, 1])).shape
            torch.Size([2, 1, 32, 32])
        """
        if kind not in (*KINDS, "mask"):
            raise MilrError(f"attribute(kind={kind}): choose among {', '.join((*KINDS, 'mask'))}{nearest(kind, KINDS)}")
        heat: Tensor = getattr(self(inputs), kind)
        return heat if heat.ndim == 2 else upsampled(heat, self.layers.input_shape[1:])[:, None]

    def to(self, device: torch.device | str) -> MILR:
        """Moves the network and the small modules to a device; gives the explainer. MilrError if there is none such."""
        move(self.network, device)
        return self

    def save(self, path: str | Path) -> None:
        """Writes the small modules, with the names of the layers, for `milr.load`; the network is not in the file.

        MilrError before `prepare`, or for a folder that is not there.
        """
        save_state(path, self.state())

    def __repr__(self) -> str:
        name, choice = type(self.network).__name__, self.choice
        if self._layers is None:
            return f"MILR({name}, local={choice.local!r}, z={choice.z!r}, not prepared)"
        stage = "fitted" if self.fitted else "prepared, not fitted" if self._modules else "not prepared"
        grid = " x ".join(map(str, self._layers.grid))
        return f"MILR({name}, local={self._layers.local!r}, z={self._layers.z!r}, {grid} places, {stage})"


def load(
    path: str | Path,
    network: nn.Module,
    device: torch.device | str | None = None,
    precision: torch.dtype = torch.float32,
    check_network: bool = True,
    **functions: Any,
) -> MILR:
    """The fitted explainer from a file, on the network that it was fitted on.

    Args:
        path: written by `explainer.save`; a run's milr.pt, which `milr fit-milr` leaves, too.
        network: that very network, with its weights.
        device: where the network is to be put; where it is if None.
        precision: as `MILR` takes it.
        check_network: False takes another network as it is.
        functions: `read` and `output`, where the explainer was made with functions.

    Raises:
        MilrError: for a file that is not there, cut, or of something else, and for another network.

    Example:
        >>> import milr, tempfile, torch, torchvision
        >>> network, images = torchvision.models.resnet18(num_classes=4), torch.randn(8, 3, 32, 32)
        >>> explainer = milr.MILR(network, "layer1", "avgpool")
        >>> explainer.prepare(images.split(4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     explainer.save(folder + "/milr.pt")
        ...     milr.load(folder + "/milr.pt", network)
        MILR(ResNet, local='layer1', z='avgpool', 8 x 8 places, prepared, not fitted)
    """
    state = read_state(path)
    if device is not None:
        move(network, device)
    return MILR.load(network, state, precision=precision, check_network=check_network, **functions)


def move(network: nn.Module, device: torch.device | str) -> None:
    """The network to a device; MilrError if there is none such."""
    try:
        network.to(device)
    except (RuntimeError, AssertionError) as error:
        raise MilrError(f"the network cannot go to {str(device)!r}: {str(error).splitlines()[0]}") from None
