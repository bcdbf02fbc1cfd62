"""MI-LR: the module that is put on a frozen network and tells what its representation knows, place by place."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from milr.decisions.inputs import device_of, dtype_name, images_of, network_device, own_modes
from milr.decisions.loaders import with_mirrored
from milr.decisions.training_images import image_count, training_batches
from milr.default_device import on_the_cpu, on_the_users
from milr.errors import MilrError
from milr.explanation.features import Features
from milr.explanation.known_network import KnownNetwork
from milr.explanation.map_making import Banks, MapMaker, MaskedBatch
from milr.explanation.map_tensors import answers, require_finite
from milr.explanation.maps import Maps
from milr.explanation.modules import BankProjection, Modules, new_modules, warn_of_far
from milr.explanation.refinement import refined_mask
from milr.explanation.saving import (
    answers_to,
    check_state,
    layers_from_state,
    noise_of,
    precision_of,
    rebuilt_modules,
    require_answers,
    require_network,
    require_same_code,
    require_same_reading,
)
from milr.explanation.settings import MilrSettings, check_settings, settings_from_state
from milr.explanation.targets import Target, checked_target
from milr.information.readings import READINGS
from milr.networks.inputs import Inputs, count, mapped
from milr.networks.inspection import check_names, check_network
from milr.networks.layers import LayerPair
from milr.networks.settings import LayerSettings, layer_settings

log = logging.getLogger("milr")

Own = TypeVar("Own", bound="Explainer")


class Explainer:
    """The MI-LR module on one layer pair of a network (paper, section 3.4 and figure 1): what is fitted, and its maps.

    `MILR` is this as people type it, and says what it is made with.
    """

    def __init__(
        self,
        network: nn.Module,
        local: str = "",
        z: str = "",
        example: Inputs | None = None,
        settings: MilrSettings | None = None,
        precision: torch.dtype = torch.float32,
        layers: LayerSettings | None = None,
        **layer_fields: Any,
    ) -> None:
        check_network(network)
        check_names(local, z)
        if not isinstance(precision, torch.dtype) or not precision.is_floating_point:
            raise MilrError(f"precision={precision!r}: torch.float32, torch.bfloat16 or another of torch's floats")
        self.settings = settings or MilrSettings()
        check_settings(self.settings)
        self.network, self.precision = network, precision
        functions = [name for name in ("read", "output") if callable(layer_fields.get(name))]
        self.functions = {name: on_the_users()(layer_fields.pop(name)) for name in functions}
        self.choice = layer_settings(layers, local=local, z=z, **layer_fields)
        self._layers: LayerPair | None = None
        if example is not None:
            self.read_layers(example)
        self._modules: Modules | None = None
        self.features: Features | None = None  # of the training images, from `prepare`: what the critic is fitted to
        self.fitted = False
        self._known: KnownNetwork | None = None
        self._answers: list[Tensor] | None = None  # of the network to noise
        self._bank = BankProjection()

    @property
    def layers(self) -> LayerPair:
        """The layer pair; MilrError before there was an example."""
        if self._layers is None:
            raise MilrError(
                "nothing was fitted yet, not even the layers are known: call fit(loader), or give "
                "MILR(..., example=images[:2])"
            )
        return self._layers

    def read_layers(self, example: Inputs) -> None:
        """Finds the layers in the network by images like those to come; without an example `prepare` does it."""
        stages = self.settings.mask.stages
        with on_the_cpu():
            self._layers = LayerPair(self.network, example, self.choice, stages, self.precision, **self.functions)

    def prepare(self, batches: Iterable[Any], images: int, seed: int = 0, views: int = 1) -> None:
        """Reads statistics, whitening, the reference bank and features of `images` images in batches [K, 3, S, S].

        They are the training images, or several views of each; `views=2` adds mirror images. The small modules start
        anew.
        A batch may be a pair or dict with the images in it, as DataLoaders give them. MilrError if the batches hold
        another number of images, or anything else than images like the example's.
        """
        number = image_count(images)
        if views not in (1, 2):
            raise MilrError(f"prepare(..., views={views}): 1, or 2 to add mirror images")
        with own_modes(self.layers, gradients=False):
            known = KnownNetwork(self.layers.network, self.layers.written)
            log.info("the mask is read from %s", ", ".join(self.layers.stages))
            training = training_batches(batches, self.layers, number)
            if views == 2:
                training, number = with_mirrored(training), 2 * number
            self._modules, self.features = new_modules(self.settings, self.layers, training, number, seed)
            self._answers = answers_to(noise_of(self.layers), self.layers)
        self._known, self.fitted = known, False

    @property
    def modules(self) -> Modules:
        """The small modules; MilrError before `prepare` or `load`."""
        if self._modules is None:
            raise MilrError(
                "this explainer knows no training images yet: call fit(loader), or load a fitted one by milr.load"
            )
        return self._modules

    def require_fitted(self) -> None:
        """MilrError if the small modules are as `prepare` made them, whose maps would mean nothing."""
        if self._modules is not None and not self.fitted:
            raise MilrError(
                "this explainer was prepared but never fitted, so its weights are random: call fit(loader), or set "
                "explainer.fitted = True if that is what you want to see"
            )

    def ready(self) -> Modules:
        """The small modules where the network is now. MilrError before `prepare`, or if the network changed since."""
        modules, device = self.modules, device_of(self.layers)
        if self._known is not None:
            self._known.require_same(self.layers.network)
            require_same_code(self._known, self._answers, self.layers)
        return modules if modules.bank.local.device == device else modules.to(device)

    def maps(
        self,
        images: Inputs,
        readings: Sequence[str] = (),
        refine: int = 0,
        target: Target | Tensor | Sequence[int] | int | None = None,
    ) -> Maps:
        """The maps of images [K, 3, S, S]. Each image's maps are the same in any batch (to float rounding).

        `readings`: further readings of eq. 1 (`infomax.map`), beside that of the settings. `refine`: so many steps
        refine the fitted mask for these images, towards `target`: a class number, one for each image [K], or a function
        from the network's output [K, E] to a loss of each image [K] (`milr.towards`, `milr.towards_class`); without a
        target, towards the class that the network decides for.
        One image [3, S, S] counts as a batch of one. MilrError for images unlike the example, for modules that were
        never fitted, for unknown readings, and where the network's output or a map is not finite, naming the image.
        """
        check_readings(readings)
        with self._masked(images, "the images of maps", refine, target) as (maker, batch):
            return self._maps(maker, batch, readings)

    def maps_and_outputs(
        self, images: Inputs, readings: Sequence[str] = (), refine: int = 0, target: Any = None
    ) -> tuple[Maps, Tensor]:
        """The maps, and what the network gives [draws, K, E] for what the same mask lets pass of each image.

        As `maps` and `masked_outputs`, but a mask that is to be refined is refined once.
        """
        check_readings(readings)
        with self._masked(images, "the images of maps", refine, target) as (maker, batch):
            return self._maps(maker, batch, readings), finite_outputs(maker, batch)

    def decision_map(self, images: Inputs, refine: int = 0, target: Any = None) -> Tensor:
        """The decision-related map alone, [K, H, W] in bits: `maps(...).decision` without the critic and its passes.

        Arguments and errors: as `maps`.
        """
        with self._masked(images, "the images of decision_map", refine, target) as (maker, batch):
            decision = maker.decision(batch)
            require_finite({"the network's output": answers(batch.first.output), "the decision map": decision})
        return decision.flatten(1) if self.layers.sequence else decision

    def masked_outputs(self, images: Inputs, refine: int = 0, target: Any = None) -> Tensor:
        """What the network gives [draws, K, E] for what the mask lets pass of each image.

        The draws are of the mask's noise, which each image has of its own, as in the fit: noise that all share would
        not disturb a decision that compares them. With zero fill there is one. Arguments and errors: as `maps`.
        """
        with self._masked(images, "the images of masked_outputs", refine, target) as (maker, batch):
            return finite_outputs(maker, batch)

    @contextmanager
    def _masked(self, images: Inputs, what: str, refine: int, target: object) -> Iterator[tuple[MapMaker, MaskedBatch]]:
        """What makes the maps, and the images after the first pass with their mask: the fitted one, or refined."""
        self.require_fitted()
        with own_modes(self.layers, gradients=False):
            images = images_of(images, self.layers, what)
            wanted = checked_target(refine, target, count(images))
            modules, first = self.ready().eval(), self.layers.first_pass(images)
            self.layers.check_larger(images, first)
            warn_of_far(modules, first.local, self.layers.local)
            if refine:
                mask = refined_mask(self.settings, self.layers, modules, first, images, int(refine), wanted)
            else:
                mask = modules.mask(first.stages, self.layers.grid)
            yield MapMaker(self.settings, self.layers, modules), MaskedBatch(images, first, mask)

    def _maps(self, maker: MapMaker, batch: MaskedBatch, readings: Sequence[str]) -> Maps:
        """All maps, each value finite; those of sequences without a second side."""
        maps = maker.maps(batch, self.bank(), readings)
        maps.require_finite()
        return maps.of_sequences() if self.layers.sequence else maps

    def bank(self) -> Banks:
        """What maps are compared with: untouched training images, and what the mask lets pass of such, projected."""
        return self._bank.of(self.modules)

    @on_the_cpu()
    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load` rebuilds this module on the same network."""
        return {
            "local": self.layers.local,
            "z": self.layers.z,
            "layers": asdict(self.layers.choice),
            "functions": list(self.functions),
            "example": noise_of(self.layers),
            "answers": self._answers,
            "settings": asdict(self.settings),
            "modules": self.modules.state_dict(),
            "fitted": self.fitted,
            "precision": dtype_name(self.precision),
            "network_sha256": self._known.sha256 if self._known else None,
        }

    @classmethod
    def load(
        cls: type[Own],
        network: nn.Module,
        state: dict[str, Any],
        example: Inputs | None = None,
        precision: torch.dtype | None = None,
        check_network: bool = True,
        **functions: Any,
    ) -> Own:
        """The fitted module from what `state` gave, on the network that it was fitted on.

        `example`: images as the network takes them, for a state of an earlier version, which holds none like them.
        MilrError if the network's weights or buffers are not, to the bit, those it was prepared on;
        `check_network=False` takes the network as it is. `precision`: None, as it was fitted with. `read` and `output`
        are the functions it was made with, if it was: a state cannot hold them.
        """
        state = check_state(state)
        settings, choice = settings_from_state(state["settings"]), layers_from_state(state)
        if missing := [name for name in state.get("functions") or () if name not in functions]:
            raise MilrError(
                f"this MI-LR module was made with a function for {missing[0]}, which no file holds: pass it"
            )
        if example is None and state.get("example") is None:
            raise MilrError("this MI-LR state is of an earlier version, without an example: pass example=images[:2]")
        precision = precision or precision_of(state)
        explainer = cls(network, settings=settings, precision=precision, layers=choice, **functions)
        device = network_device(network)
        explainer.read_layers(mapped(state["example"], lambda part: part.to(device)) if example is None else example)
        layers = explainer.layers
        require_same_reading(choice, layers)
        if check_network:
            way_out = "give that network, or check_network=False if its features are the same all the same"
            require_network(state.get("network_sha256"), layers, way_out)
            with own_modes(layers, gradients=False):
                require_answers(state, layers, way_out)
        with own_modes(layers, gradients=False):
            modules = rebuilt_modules(explainer.settings, layers, state["modules"])
            explainer._modules = modules.to(device_of(layers))
            explainer._known = KnownNetwork(layers.network, layers.written)
            explainer._answers = answers_to(noise_of(layers), layers)
        explainer.fitted = state.get("fitted", True)  # an older state does not say: it was saved after a fit
        return explainer


def check_readings(readings: Sequence[str]) -> None:
    """MilrError for unknown readings of eq. 1."""
    if isinstance(readings, str) or not isinstance(readings, Sequence):
        raise MilrError(f"maps(images, readings={readings!r}): a list, of {', '.join(READINGS)}")
    if unknown := [reading for reading in readings if reading not in READINGS]:
        raise MilrError(f"maps(images, readings={unknown}): choose among {', '.join(READINGS)}")


def finite_outputs(maker: MapMaker, batch: MaskedBatch) -> Tensor:
    """What the network gives [draws, K, E] for what the mask lets pass. MilrError where that is not finite."""
    outputs = maker.outputs(batch)
    require_finite({"the network's output through the mask": answers(outputs.transpose(0, 1))})
    return outputs
