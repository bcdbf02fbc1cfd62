"""`milr.MILR` as people type it: prepare and fit by a DataLoader, maps by a call, files, Captum's `attribute`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from milr.bars import bar
from milr.decisions.batch_sources import in_batches
from milr.decisions.decisions import Batch
from milr.decisions.inputs import described, images_of
from milr.decisions.loaders import counted, example_of, first_batch, images_to_prepare, validation_batches
from milr.decisions.loading import checked_kind, fit_batches
from milr.default_device import on_the_cpu
from milr.errors import MilrError
from milr.explanation import fitting
from milr.explanation.bars import Bars
from milr.explanation.decision_checks import check_own_output, warn_of_answers
from milr.explanation.explainer import Explainer
from milr.explanation.map_tensors import upsampled
from milr.explanation.maps import KINDS, Maps, stack
from milr.explanation.saving import read_state, save_state
from milr.explanation.settings import FitSettings
from milr.explanation.targets import targets_of
from milr.fields import check, nearest
from milr.networks.inputs import Inputs, split
from milr.seeding import seeded

HELD_OUT_SHARE = 0.1  # of a loader's images
CHECKED = 8  # batches of which the untouched network's answers are checked


class MILR(Explainer):
    """The MI-LR module on one layer pair of a network (paper, section 3.4 and figure 1).

    The network stays as it was: every pass runs it frozen and leaves no hook.

    Args:
        network: any network of images, words or times, on any device.
        local: name, as in `named_modules()`, of the layer whose places x_i are explained: features [K, C, H, W] or
            tokens [K, T, C]; empty: a first guess, which `milr.layers` marks.
        z: name of a later layer, which gives the representation z [K, D]; empty: a first guess, the last pooled
            embedding.
        example: images [K, 3, S, S] as the network takes them, or a dict of tensors (keyword arguments), or a tuple of
            them (several arguments); it fixes their size and type. Without one the layers are read with the first batch
            of `prepare`.
        settings: the method's choices (`MilrSettings`).
        precision: of the network's passes, float32 or bfloat16; the small modules are always float32.
        layers: how the layers' tensors are read, and which output is taken, where that is not clear; the other
            arguments override it.
        layer_fields: single fields of `LayerSettings`: layout="tokens", grid=[14, 14], ... `read` may be a function
            from what layer `z` gives to z [K, D], and `output` one from what the network gives to its output [K, E].

    Attributes:
        settings: the method's choices.
        layers: the two layers, and how they are read; MilrError before there was an example.
        modules: the small modules that `fit` fits (critic, mask, bottleneck); MilrError before `prepare` or `load`.
        fitted: whether `fit` changed the small modules since `prepare`. While it is False, `maps` raises MilrError: set
            it to True to see maps of modules that were fitted by other means, or not at all.

    Raises:
        MilrError: for layers, a network, an example or settings with which the method cannot work.

    Example:
        >>> import milr, torch, torchvision
        >>> network = torchvision.models.resnet18(num_classes=4)
        >>> images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 4
        >>> data = torch.utils.data.TensorDataset(images, labels)
        >>> loader = torch.utils.data.DataLoader(data, batch_size=8)
        >>> explainer = milr.MILR(network, "layer1", "avgpool")
        >>> explainer.prepare(loader)  # statistics, features, the reference bank; fit does it too
        >>> short = milr.FitSettings(critic=milr.CriticSettings(steps=2))  # for the example
        >>> maps = explainer.fit(loader, steps=2, settings=short, progress=False)(images[:3])  # in bits
        >>> maps.total.shape, maps.decision.shape, maps.redundant.shape
        (torch.Size([3, 8, 8]), torch.Size([3, 8, 8]), torch.Size([3, 8, 8]))
    """

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
            batches: a DataLoader or another iterable of images, of (images, labels), or of dicts; a data set is read in
                batches of 32.
            images: how many images they hold; None: they are counted. Batches without a length are then copied to a
                temporary file, the first 4,096 images at most: a stream may have no end.
            seed: of all that is drawn at random, also by a DataLoader that shuffles.
            views: 2 adds the mirror image of each image, for data where left and right do not matter: the critic has
                more to learn from.
            progress: show a progress bar.

        Raises:
            MilrError: for batches of anything else, fewer than two images, and layers that cannot be read.
        """
        batches = in_batches(batches)
        check(FitSettings(seed=seed))
        with on_the_cpu(), seeded(seed):
            if self._layers is None:
                first, batches = first_batch(batches)
                self.read_layers(example_of(first, self.network))
            if images is None:
                batches, images = counted(batches, self.layers)
            if progress and not isinstance(batches, Tensor | Mapping):
                batches = bar(batches, desc="prepare", unit="batch")
            super().prepare(batches, images, seed, views)

    def fit(
        self,
        loader: Iterable[Any],
        decision: str | Callable[[Any], Batch] = "classes",
        steps: int | None = None,
        validation: Iterable[Any] | None = None,
        settings: FitSettings | None = None,
        seed: int = 0,
        progress: bool = True,
    ) -> MILR:
        """Fits the small modules to the decisions about a loader's images; prepares them with it if need be.

        Args:
            loader: gives (images, targets) or dicts, and can be iterated several times; a tenth of it, 512 images at
                most, is held out.
            decision: "classes" (the network's output is the logits), "prototypes", "multilabel", "regression",
                "pairs", or a function that makes a `Batch` of what the loader gives.
            steps: at most so many steps of the mask's fit; None: as `settings` say.
            validation: a loader of held-out images, or a list of `Batch`; nothing of `loader` is held out then.
            settings: everything else about the fit.
            seed: of all that is drawn at random.
            progress: show progress bars.

        Returns:
            The explainer itself.

        Raises:
            MilrError: for a loader without images or targets, or one that can be iterated only once; and as `milr.fit`.

        Example:
            >>> import milr, torch, torchvision
            >>> data = torch.utils.data.TensorDataset(torch.randn(24, 3, 32, 32), torch.arange(24) % 4)
            >>> loader = torch.utils.data.DataLoader(data, batch_size=8)
            >>> short = milr.FitSettings(critic=milr.CriticSettings(steps=2))
            >>> network = torchvision.models.resnet18(num_classes=4)
            >>> milr.MILR(network, "layer1", "avgpool").fit(loader, steps=2, settings=short, progress=False)
            MILR(ResNet, local='layer1', z='avgpool', 8 x 8 places, fitted)
        """
        if isinstance(loader, Iterator):
            raise MilrError(
                f"fit goes through the loader several times: give a DataLoader or a list, not {described(loader)}"
            )
        loader, decision = in_batches(loader), checked_kind(decision)
        settings = settings or FitSettings()
        if not isinstance(settings, FitSettings):
            raise MilrError(f"fit(loader, settings=...): settings are milr.FitSettings, not {described(settings)}")
        settings = replace(settings, seed=seed, steps=settings.steps if steps is None else steps)
        check(settings)
        with on_the_cpu():
            self._fit(loader, decision, validation, settings, progress)
        return self

    def _fit(self, loader: Any, decision: Any, validation: Any, settings: FitSettings, progress: bool) -> None:
        """Prepares if need be, and fits; the arguments were checked."""
        seed = settings.seed
        batches, held_out = fit_batches(loader, decision, seed, HELD_OUT_SHARE if validation is None else 0.0)
        if validation is not None:
            held_out = validation_batches(validation, decision, seed)
        if self._modules is None:
            self.prepare(images_to_prepare(loader, decision), seed=seed, progress=progress)
        if isinstance(decision, str):
            check_own_output(self.layers, decision)
        warn_of_answers(self.layers, islice(chain(held_out, map(batches, range(1, CHECKED + 1))), CHECKED))
        with Bars(settings, progress) as bars:
            fitting.fit(self, batches, settings, held_out, bars.on_step, on_critic=bars.on_critic)

    @on_the_cpu()
    def __call__(self, images: Inputs, batch_size: int = 32, refine: int = 0, target: Any = None) -> Maps:
        """The maps of images [K, 3, S, S], `batch_size` at a time: [K, H, W] in bits, or [K, T] of a sequence.

        `refine`, `target`, and errors: as `maps`. A function as target gets the outputs of a batch at a time.
        """
        parts = split(images_of(images, self.layers, "the images"), batch_size)
        rows = targets_of(parts, target)
        return stack([self.maps(part, refine=refine, target=own) for part, own in zip(parts, rows, strict=True)])

    @on_the_cpu()
    def attribute(
        self, inputs: Any, target: Any = None, kind: str = "decision", refine: int = 0, batch_size: int = 32
    ) -> Tensor | tuple[Tensor, ...]:
        """A map at the inputs' own size, as Captum's `Attribution.attribute` gives it.

        Args:
            inputs: images [K, C, H, W]; a tuple of them gives a tuple, as in Captum.
            target: class numbers [K], or one for all. Ignored without `refine`: the fitted mask explains what the
                decision reads, whichever class it is.
            kind: decision, total, kept, redundant or mask.
            refine: steps in which the mask of these images is refined for the target, as in `maps`.
            batch_size: images at a time.

        Returns:
            [K, 1, H, W], bits per place of the local layer (mask: 0 to 1), bilinear in between; [K, T] of a sequence.

        Raises:
            MilrError: for an unknown kind, and as `maps` raises it.

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
            raise MilrError(
                f"attribute(kind={kind}): choose among {', '.join((*KINDS, 'mask'))}{nearest(str(kind), KINDS)}"
            )
        parts = split(images_of(inputs, self.layers, "the inputs"), batch_size)
        rows = targets_of(parts, target if refine else None)  # Captum's callers name one always
        heat = torch.cat([self._one_kind(kind, part, refine, own) for part, own in zip(parts, rows, strict=True)])
        if heat.ndim == 3 and len(self.layers.input_shape) == 1:
            raise MilrError(
                f"attribute gives maps of the inputs' size, and inputs {list(self.layers.input_shape)} have no height "
                f"and width: take maps [K, {heat.shape[1]}, {heat.shape[2]}], explainer(inputs).{kind}"
            )
        heat = heat if heat.ndim == 2 else upsampled(heat, self.layers.image_size)[:, None]
        return (heat,) if isinstance(inputs, tuple) else heat

    def _one_kind(self, kind: str, images: Inputs, refine: int, target: Any) -> Tensor:
        """The maps of one kind alone, refined towards the target where one is given."""
        if kind == "decision":  # needs no critic
            return self.decision_map(images, refine, target)
        heat: Tensor = getattr(self.maps(images, refine=refine, target=target), kind)
        return heat

    def to(self, device: torch.device | str) -> MILR:
        """Moves the network and the small modules to a device, and returns the explainer. MilrError for no device."""
        move(self.network, device)
        return self

    def save(self, path: str | Path) -> None:
        """Writes the small modules, with the names of the layers, for `milr.load`; the network is not in the file.

        MilrError before `prepare`, or for a folder that does not exist.
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
    precision: torch.dtype | None = None,
    check_network: bool = True,
    **functions: Any,
) -> MILR:
    """The fitted explainer from a file, on the network that it was fitted on.

    Args:
        path: written by `explainer.save`, or the milr.pt of a `milr fit-milr` run.
        network: the network that it was fitted on, with its weights.
        device: where the network is moved to; None: it stays where it is.
        precision: as `MILR` takes it; None: as it was fitted with.
        check_network: False accepts another network.
        functions: `read` and `output`, if the explainer was made with functions.

    Raises:
        MilrError: for a file that is missing, truncated or of another kind, and for another network.

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
    """Moves the network to a device. MilrError for no device, or one that is not there."""
    if isinstance(device, torch.dtype):
        raise MilrError(f"to({device}) is no device: the precision of the passes is MILR(network, precision={device})")
    try:
        network.to(device)
    except (RuntimeError, AssertionError) as error:
        raise MilrError(f"the network cannot go to {str(device)!r}: {str(error).splitlines()[0]}") from None
