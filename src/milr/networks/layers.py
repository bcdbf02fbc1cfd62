"""Reading two layers of a frozen network by name, and running its upper part again from changed local features."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from milr.errors import MilrError
from milr.networks.alignment import check_places, holds_pictures
from milr.networks.class_token import Outputs, class_token, fixed_word, warn_of_padding
from milr.networks.coverage import warn_of_motion, warn_of_stretch
from milr.networks.draws import check_draws
from milr.networks.exchanges import warn_of_exchange
from milr.networks.freezing import frozen, weights_sha256
from milr.networks.gradients import ThroughNoGrad
from milr.networks.guess import with_guesses
from milr.networks.hooks import HookedLayer, recorded, require_rows
from milr.networks.inputs import Inputs, call, checked_example, count, join, main_tensor, mapped, take, warn_of_pictures
from milr.networks.inspection import Inspection, check_network
from milr.networks.layouts import SEQUENCE, TOKENS, Reading, read_representation
from milr.networks.outputs import (
    USUAL,
    OutputChoice,
    choose,
    describe,
    pick,
    vectors_in,
    with_features,
)
from milr.networks.own_state import also_writes, same_state, unchanged, written_each_time
from milr.networks.passes import FirstPass, SecondPass, check_alone, check_passes
from milr.networks.paths import Paths
from milr.networks.probes import probe_inputs
from milr.networks.settings import LayerSettings
from milr.networks.word_order import warn_of_order
from milr.networks.wrappers import uncompiled, unwrap

__all__ = ["FirstPass", "LayerPair", "SecondPass", "frozen", "weights_sha256"]

log = logging.getLogger("milr")


class LayerPair:
    """A network with a local and a global layer named in it. It alone sets hooks, each taken off within the same call.

    `choice` names the layers ("layer1", "layer3.1", "avgpool"; empty: `guess`) and says how to read them where their
    tensors leave it open. `read` (z [K, D] of what the global layer gives) and `output` (a tensor with a row for each
    image of what the network gives) are functions for what `choice` has no word for. `stages` (the setting
    `mask.stages`) names the readout layers, those whose features the mask is computed from; by default the last before
    each change of resolution, the ends of what papers on ResNets call stages, and of a transformer a few blocks. The
    command line's stages are others. `example` is any batch, K at least 1, of what the network is called with, of the
    size, dtype and device of what is to come: a tensor [K, 3, H, W], a dict of tensors (keyword arguments), a tuple of
    tensors. Everything else is learned from noise like it. `precision` other than float32 runs the network under
    autocast; what comes out is float32 always. DataParallel, DistributedDataParallel and torch.compile are looked
    through.

    Raises MilrError for a name that does not exist (with the nearest ones), a layer that runs never or more than once
    without `call`, a local layer without a map, a global layer that does not depend on it, and a network that gives an
    image another output from run to run, or beside other images.
    """

    def __init__(
        self,
        network: nn.Module,
        example: Any,
        choice: LayerSettings | None = None,
        stages: Sequence[str] | None = None,
        precision: torch.dtype = torch.float32,
        read: Reading | None = None,
        output: OutputChoice | None = None,
    ) -> None:
        check_network(network)
        choice = choice or LayerSettings()
        example = checked_example(example, choice.layout != "auto")
        self.network, self.precision = unwrap(network), precision
        self._through_no_grad = False
        self.largest_checked = 1  # images of the largest batch that `check_larger` saw
        self.example = take(example, slice(0, 1))  # what `images_of` compares with
        main = main_tensor(example)
        warn_of_pictures(example)
        self.input_shape = tuple(main.shape[1:])
        dtypes = {p.dtype for p in self.network.parameters() if p.is_floating_point()}
        self._dtype = dtypes.pop() if len(dtypes) == 1 else None  # of several the network's own code knows which
        self._rounds = self._dtype or max(dtypes, key=lambda dtype: torch.finfo(dtype).eps, default=torch.float32)
        self._read, self._output = read or choice.read, output or choice.output

        probes, others = (self._cast(images) for images in probe_inputs(example))
        self.written: list[str] = []  # names of the tensors that each pass writes to, and no result depends on
        with same_state(self.network) as start:
            paths = Paths(Inspection(self.network, probes, choice), self._output)
            self.written, refusal = written_each_time(self.network, start, probes, others)
            if refusal:
                raise refusal
            choice = self._name_layers(paths, choice, stages, read)
            try:
                self._try_passes(paths, probes, others, example)
            except MilrError as error:
                raise MilrError(f"{error}{also_writes(self.network, self.written)}") from error
        self.choice = self._as_found(choice)

    def _name_layers(
        self, paths: Paths, choice: LayerSettings, stages: Sequence[str] | None, read: Reading | None
    ) -> LayerSettings:
        """The layers, their layouts and their modules; the choice with what was guessed in it."""
        layers = paths.layers
        if not (choice.local and choice.z):
            layers.choice = choice = with_guesses(layers, choice, paths, read is not None)
            self._read = read or choice.read
            log.info("the layer pair is a guess: local=%s, z=%s (milr.layers shows all)", choice.local, choice.z)
        self.local, self.z = layers.name_of(choice.local), layers.name_of(choice.z)
        layers.check_order(self.local, self.z)
        self.stages = tuple(layers.name_of(name) for name in stages or ()) or layers.readout_layers() or (self.local,)
        self.layouts = {self.local: layers.layout(self.local, "the local layer")}
        for name in set(self.stages) - {self.local}:
            self.layouts[name] = layers.layout(name, "a layer that the mask reads", trust=False)
        self._z_layout = layers.reading_layout(self.z, self.local, self.layouts[self.local])
        self._layers = {
            name: HookedLayer(
                name, layers.module_of(name), layers.run_number(name), layers.is_entry(name), name == self.z
            )
            for name in (self.local, self.z, *self.stages)
        }
        return choice

    def _try_passes(self, paths: Paths, probes: Inputs, others: Inputs, example: Inputs) -> None:
        """Runs both passes on probes: which token z is, what they may be spared, and where the places are."""
        # Everything above the local layer depends on x alone in a plain chain of layers, so that the part below may see
        # one image only and costs next to nothing. A network with a bypass around the local layer must see all of them,
        # and so must one whose class token is computed beside the places.
        layers = paths.layers
        self.image_size = layers.size if len(self.input_shape) == 3 else self.input_shape[-2:]  # (H, W) of images
        self._class_token: int | None = None
        self._word_found = False  # which word z is, or the mean of all: by probes, which are of one length
        self.reads_otherwise = False  # z is another token than the first, or a mean, without being said to be
        self.takes_one = True  # an image alone; not so where the network squeezes the dimension of the images away
        self._one_image_below = False
        if self._read in ("auto", "cls") and self._z_layout and self._z_layout.kind in (TOKENS, SEQUENCE):
            self._find_class_token(probes)
        self.takes_one, self._one_image_below = check_passes(self, probes, others, layers.block_before(self.local))
        first, own, main = self.first_pass(probes), self.layouts[self.local], main_tensor(probes)
        check_draws(self, first, probes)
        size = layers.size if main.ndim == 4 else (self.input_shape[0], self.input_shape[-1])
        if own.kind != SEQUENCE and holds_pictures(main, size, own.grid):
            by_hand = layers.layouts.get(id(layers.run_of(self.local))) != own
            seen = check_places(self, own.grid, probes, size, by_hand)
            seen = seen and not warn_of_exchange(self, own.grid, probes, size)
            if seen:  # else nothing is where it seems, at the border and elsewhere
                warn_of_stretch(self, own.grid, probes, size)
            if seen and count(example) > 1:  # of one image, or noise, as a saved state has it, nothing new is seen
                warn_of_motion(self, own.grid, self._cast(example), probes, size)
        paths.warn_of_past(layers.run_of(self.local), self.local)
        self.sequence = own.kind == SEQUENCE or (own.grid[0] == 1 and main.ndim < 4)  # its maps are rows [K, T]
        if self.sequence:
            warn_of_order(self, own.grid[1], probes)
        self.local_shape = tuple(first.local.shape[1:])  # (C, H, W)
        self.grid = (first.local.shape[2], first.local.shape[3])  # (H, W)
        self.stage_channels = tuple(features.shape[1] for features in first.stages)  # C_s of each
        self.dimension = first.representation.shape[1]  # D

    def _as_found(self, choice: LayerSettings) -> LayerSettings:
        """The choice with everything in it that was left open: another pair by it reads the same."""
        own = self.layouts[self.local]
        choice = replace(choice, local=self.local, z=self.z, layout=own.kind, grid=list(own.grid), prefix=own.prefix)
        if isinstance(self._read, str):
            choice = replace(choice, read=self._read)
        return replace(choice, output=self._output) if isinstance(self._output, str) else choice

    def first_pass(self, images: Inputs) -> FirstPass:
        """The untouched pass over images [K, 3, H, W], without gradients."""
        if count(images) == 1 and not self.takes_one:
            two = self.first_pass(join([images] * 2))
            return FirstPass(two.local[:1], two.representation[:1], tuple(f[:1] for f in two.stages), two.output[:1])
        names = {self.local, self.z, *self.stages}
        with torch.no_grad(), frozen(self.network), recorded(self._layers[name] for name in names) as seen:
            output = self._run(images)
        require_rows(seen, names, count(images))
        return FirstPass(
            local=self._places(self.local, seen[self.local]),
            representation=self._representation(seen[self.z]),
            stages=tuple(self._places(name, seen[name]) for name in self.stages),
            output=output.flatten(1).float(),
        )

    def check_larger(self, images: Inputs, first: FirstPass) -> None:
        """`check_alone` of a batch larger than any that was tried; `first` is what the first pass made of it.

        A network may mix the images of large batches alone: experts whose least capacity small ones do not fill.
        """
        if count(images) > self.largest_checked:
            check_alone(self, images, first)
            if self._word_found and self._z_layout:
                warn_of_padding(self._with_tokens(images), self._class_token, self._z_layout, self.rounding, self.z)
            self.largest_checked = count(images)

    def second_pass(self, occluded: Tensor, images: Inputs) -> SecondPass:
        """The pass in which `occluded` [K, C, H, W] replaces the local features; gradients flow to `occluded`.

        What is no place there, a class token, is what the network gives for the image itself.
        """
        if len(occluded) == 1 and not self.takes_one:
            one = take(images, slice(0, 1))
            two = self.second_pass(torch.cat([occluded] * 2), join([one] * 2))
            return SecondPass(two.representation[:1], two.output[:1])
        return self.pass_above(occluded, take(images, slice(0, 1)) if self._one_image_below else images)

    def pass_above(self, occluded: Tensor, below: Inputs) -> SecondPass:
        """The second pass with these images below the local layer, which may be others than those of `occluded`."""
        layout, local = self.layouts[self.local], self._layers[self.local]

        def replaced(output: Any) -> Any:
            """The occluded features, as the local layer would give them."""
            return with_features(output, layout.put(local.features(output), occluded))

        wanted = occluded.requires_grad and torch.is_grad_enabled()
        through = ThroughNoGrad() if wanted and self._through_no_grad else nullcontext()
        with frozen(self.network), local.on_output(replaced), recorded([self._layers[self.z]]) as seen, through:
            output = self._run(below)
        if wanted and not output.requires_grad and not self._through_no_grad:
            self._through_no_grad = True  # the network may stop gradients for its own training
            return self.pass_above(occluded, below)
        return SecondPass(representation=self._representation(seen[self.z]), output=output.flatten(1).float())

    def changed_pass(self, images: Inputs, change: Callable[[Tensor], Tensor]) -> Tensor:
        """The network's output [K, E] with `change(x)` in place of the local features x [K, C, H, W].

        Unlike every other pass it leaves the network's modes as they are, and gradients reach the parameters above the
        local layer: it is for learning.
        """
        layout, local = self.layouts[self.local], self._layers[self.local]

        def changed(output: Any) -> Any:
            """What the local layer gives, changed."""
            features = local.features(output).detach()
            return with_features(output, layout.put(features, change(layout.places(features).float())))

        with local.on_output(changed):
            return self._run(images).flatten(1).float()

    def _find_class_token(self, probes: Inputs) -> None:
        """Which of the tokens that are no places is z, or which of the words; of none z is a mean."""
        assert self._z_layout is not None
        layout, output = self._z_layout, self._with_tokens(probes)
        if layout.kind == SEQUENCE:
            self._class_token, self._word_found = fixed_word(output, self.rounding, self.z), True
        else:
            self._class_token = class_token(output, layout, self.rounding, self.z)
        if self._read == "auto":
            self._read = "pool" if self._class_token is None else "cls"
            self.reads_otherwise = self._class_token != (0 if layout.prefix else None)

    def _with_tokens(self, images: Inputs) -> Outputs:
        """What the network gives for these images with a function of the global layer's tokens in their place."""
        last = self._layers[self.z]

        def output(change: Callable[[Tensor], Tensor]) -> Tensor:
            """[K, ...], with other tokens."""

            def changed(given: Any) -> Any:
                """What the layer gives, with them."""
                return with_features(given, change(last.features(given)))

            with torch.no_grad(), frozen(self.network), last.on_output(changed):
                return self._run(images)

        return output

    def _places(self, name: str, features: Tensor) -> Tensor:
        """[K, C, H, W] in float32 of what a layer gives."""
        if features.is_complex():
            raise MilrError(f"layer '{name}' gives complex numbers: name one that gives floats")
        return self.layouts[name].places(features).float()

    def _representation(self, features: Tensor) -> Tensor:
        z = read_representation(features, self._read, self._z_layout, self.z, self._class_token)
        if z.is_complex():
            raise MilrError(
                f"the global layer '{self.z}' gives complex numbers: make floats of them, such as "
                "read=lambda z: torch.view_as_real(z).flatten(1)"
            )
        return z.float()

    def _run(self, images: Inputs) -> Tensor:
        kind = main_tensor(images).device.type
        autocast = torch.autocast(kind, self.precision, enabled=self.precision != torch.float32)
        with autocast, uncompiled(), unchanged(self.network, self.written):
            output = call(self.network, self._cast(images))
        if not isinstance(output, Tensor) and not self._output:
            self._output = choose(output, count(images))
            doubt = self._output not in USUAL and len(vectors_in(output, count(images))) > 1
            message = "the network gives %s: output=%s is taken" + ", say output= if another is meant" * doubt
            log.log(logging.WARNING if doubt else logging.INFO, message, describe(output), self._output)
        picked = pick(output, self._output)
        self.output_shape = tuple(picked.shape[1:])
        return picked

    def _cast(self, images: Inputs) -> Inputs:
        """Floats in the precision of the network's weights, where these have one."""
        return mapped(images, lambda one: one.to(self._dtype or one.dtype) if one.is_floating_point() else one)

    @property
    def rounding(self) -> torch.dtype:
        """The precision that two results of one computation are compared in."""
        return self.precision if self.precision != torch.float32 else self._rounds
