"""Reading two layers of a frozen network by name, and running its upper part again from changed local features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from milr.errors import MilrError
from milr.networks.dependence import Dependence
from milr.networks.freezing import frozen, weights_sha256
from milr.networks.inspection import Inspection, check_example, check_network
from milr.networks.probes import changed_buffers, first_difference, not_finite, probe_images, same
from milr.networks.trace import CHANNELS_LAST
from milr.networks.wrappers import uncompiled, unwrap

__all__ = ["FirstPass", "LayerPair", "SecondPass", "frozen", "weights_sha256"]

Hook = Callable[[nn.Module, Any, Any], Any]
Result = TypeVar("Result")


@dataclass(frozen=True)
class FirstPass:
    """What the untouched network computes from K images, in float32."""

    local: Tensor  # x, the local features [K, C, H, W]
    representation: Tensor  # z [K, D]
    stages: tuple[Tensor, ...]  # the features of each layer that the mask reads, [K, C_s, H_s, W_s]
    output: Tensor  # what the network itself returns [K, E]


@dataclass(frozen=True)
class SecondPass:
    """What the upper part computes from occluded local features."""

    representation: Tensor  # z' [K, D]
    output: Tensor  # [K, E]


class LayerPair:
    """A network with a local and a global layer named in it. It alone sets hooks, each taken off within the same call.

    `local` and `z` are names of the module tree ("layer1", "layer3.1", "avgpool"). `stages` (the setting
    `mask.stages`) names the readout layers, those whose features the mask is computed from; by default the last before
    each change of resolution, the ends of what papers on ResNets call stages. The command line's stages are others.
    `example` is any batch [K, 3, H, W], K at least 1, of the size, dtype and device of the images to come: everything
    else is learned from images of noise like it. A layer that gives [K, H, W, C] is recognised by a picture
    of another height; `layout` says it where the network takes one size only and the shape leaves it open. `precision`
    other than float32 runs the network under autocast; what comes out is float32 always. DataParallel,
    DistributedDataParallel and torch.compile are looked through.

    Raises MilrError for a name that does not exist (with the nearest ones), a layer that runs never or more than once,
    a local layer without a map, a global layer that does not depend on it, and a network that gives an image another
    output from run to run, or beside other images.
    """

    def __init__(
        self,
        network: nn.Module,
        local: str,
        z: str,
        example: Tensor,
        stages: Sequence[str] | None = None,
        precision: torch.dtype = torch.float32,
        layout: str | None = None,
    ) -> None:
        check_network(network)
        check_example(example)
        self.network, self.precision = unwrap(network), precision
        self.input_shape, self.input_dtype = tuple(example.shape[1:]), example.dtype
        dtypes = {p.dtype for p in self.network.parameters() if p.is_floating_point()}
        self._dtype = dtypes.pop() if len(dtypes) == 1 else torch.float32

        probes, others = (self._cast(images) for images in probe_images(example))
        layers = Inspection(self.network, probes)
        self.local, self.z = layers.name_of(local), layers.name_of(z)
        layers.check_order(self.local, self.z)
        self.stages = tuple(layers.name_of(name) for name in stages or ()) or layers.readout_layers() or (self.local,)
        self.layouts = {self.local: layers.layout(self.local, layout, "the local layer")}
        for name in self.stages:
            self.layouts[name] = layers.layout(name, layout, "a layer that the mask reads", trust=False)
        self._modules = {name: layers.modules[name] for name in (self.local, self.z, *self.stages)}
        # Everything above the local layer depends on x alone in a plain chain of layers, so that the part below may see
        # one image only and costs next to nothing. A network with a bypass around the local layer must see all of them.
        self._one_image_below = False
        self._takes_one = True  # an image alone; not so where the network squeezes the dimension of the images away
        changed = changed_buffers(self.network, lambda: self._check_passes(probes, others))
        if changed:
            raise MilrError(
                f"the network changes its buffer '{changed[0]}' while it runs in eval(): maps need one result"
            )
        first = self.first_pass(probes)
        self.local_shape = tuple(first.local.shape[1:])  # (C, H, W)
        self.grid = (first.local.shape[2], first.local.shape[3])  # (H, W)
        self.stage_channels = tuple(features.shape[1] for features in first.stages)  # C_s of each
        self.dimension = first.representation.shape[1]  # D

    def first_pass(self, images: Tensor) -> FirstPass:
        """The untouched pass over images [K, 3, H, W], without gradients."""
        if len(images) == 1 and not self._takes_one:
            two = self.first_pass(torch.cat([images] * 2))
            return FirstPass(two.local[:1], two.representation[:1], tuple(f[:1] for f in two.stages), two.output[:1])
        seen: dict[str, Tensor] = {}

        def keep(name: str) -> Hook:
            """A hook that keeps what the layer of this name gives."""

            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                seen[name] = output.clone()  # the next layer may work in place

            return hook

        names = {self.local, self.z, *self.stages}
        with torch.no_grad(), frozen(self.network), ExitStack() as hooks:
            for name in names:
                hooks.enter_context(self._modules[name].register_forward_hook(keep(name)))
            output = self._run(images)
        if gone := names - seen.keys():
            raise MilrError(
                f"layer '{gone.pop()}' did not run: was a layer of the network replaced? Make a new explainer"
            )
        return FirstPass(
            local=self._channels_first(self.local, seen[self.local]).float(),
            representation=seen[self.z].flatten(1).float(),
            stages=tuple(self._channels_first(name, seen[name]).float() for name in self.stages),
            output=output.flatten(1).float(),
        )

    def second_pass(self, occluded: Tensor, images: Tensor) -> SecondPass:
        """The pass in which `occluded` [K, C, H, W] replaces the local features; gradients flow to `occluded`."""
        if len(occluded) == 1 and not self._takes_one:
            two = self.second_pass(torch.cat([occluded] * 2), torch.cat([images[:1]] * 2))
            return SecondPass(two.representation[:1], two.output[:1])
        return self._second_pass(occluded, images[:1] if self._one_image_below else images)

    def _second_pass(self, occluded: Tensor, below: Tensor) -> SecondPass:
        seen: list[Tensor] = []

        def replace(module: nn.Module, inputs: Any, output: Any) -> Tensor:
            """The occluded features, as the local layer would give them."""
            last = self.layouts[self.local] == CHANNELS_LAST
            features = occluded.permute(0, 2, 3, 1).contiguous() if last else occluded
            return features.to(output.dtype, copy=True)  # the next layer may work in place

        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            """What the global layer gives."""
            seen.append(output.clone())

        with frozen(self.network), ExitStack() as hooks:
            hooks.enter_context(self._modules[self.local].register_forward_hook(replace))
            hooks.enter_context(self._modules[self.z].register_forward_hook(keep))
            output = self._run(below)
        return SecondPass(representation=seen[0].flatten(1).float(), output=output.flatten(1).float())

    def _run(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, self.precision, enabled=self.precision != torch.float32), uncompiled():
            output: Tensor = self.network(self._cast(images))
        if not isinstance(output, Tensor):
            raise MilrError(f"the network gives a {type(output).__name__}: wrap it in a module that gives one tensor")
        return output

    def _cast(self, images: Tensor) -> Tensor:
        """Images of floats in the precision of the network's weights, where these have one."""
        return images.to(self._dtype) if images.is_floating_point() else images

    def _channels_first(self, name: str, features: Tensor) -> Tensor:
        return features.permute(0, 3, 1, 2) if self.layouts[name] == CHANNELS_LAST else features

    def _check_passes(self, probes: Tensor, others: Tensor) -> None:
        """What the two passes rest on, seen on two batches of which the first image is the same."""
        if damaged := not_finite(self.network):
            raise MilrError(
                f"the network is damaged: {len(damaged)} of its tensors hold nan or inf, '{damaged[0]}' among them"
            )
        first, beside_another = self.first_pass(probes), self.first_pass(others)
        if len(first.output) != len(probes):
            raise MilrError(
                f"the network gives {list(first.output.shape)} for {len(probes)} images: it must give a row each"
            )
        for name, features in ((self.local, first.local), (self.z, first.representation)):
            if not features.isfinite().all():
                value = "nan" if features.isnan().any() else "inf"
                raise MilrError(
                    f"layer '{name}' gives {value} for noise in the range of the example: pass real images as one, or "
                    "look at the network's weights and buffers"
                )
        again = self._attempt(first.local, probes)
        self._check_repeats(first, again, probes)
        for one, other in zip(_tensors(first), _tensors(beside_another), strict=True):
            if not self._same(one[0], other[0]):
                where = first_difference(self.network, probes, others, self._dtype)
                raise MilrError(
                    f"what the network gives for an image depends on the other images of the batch: {where} mixes "
                    "them, also in eval(), as batch normalisation without running statistics does"
                )
        self._takes_one = self._same_alone(first, probes[:1])
        changed = self._attempt(beside_another.local, probes)
        if torch.equal(changed.representation, again.representation):
            raise MilrError(
                f"the global layer '{self.z}' gives the same whatever the local layer '{self.local}' gives: name "
                "layers of which the second depends on the first"
            )
        # 1. The part below sees other images, then 2. one image only: does the upper part notice?
        unnoticed = self._reads_local_alone(first.local, others, again)
        self._one_image_below = unnoticed and self._works_on_one(first.local, others[:1], again)

    def _check_repeats(self, first: FirstPass, again: SecondPass, probes: Tensor) -> None:
        """MilrError unless the second pass over untouched local features gives what the first did."""
        if self._same_above(first, again):
            return
        if self._same_above(first, self.first_pass(probes)):
            raise MilrError(
                f"putting the output of '{self.local}' back in its place changes what comes after: the network "
                "reads that layer in another way too; name another local layer"
            )
        where = first_difference(self.network, probes, probes, self._dtype)
        raise MilrError(f"the network gives two results for the same images: {where} is random, also in eval()")

    def _attempt(self, local: Tensor, below: Tensor) -> SecondPass:
        with torch.no_grad():
            return self._second_pass(local, below)

    def _same_alone(self, first: FirstPass, image: Tensor) -> bool:
        """Whether the network gives its first image the same where it sees nothing else."""
        alone = _result_of(lambda: self.first_pass(image))  # it may not take shapes without the dimension of the images
        return alone is not None and all(
            self._same(whole[:1], one) for whole, one in zip(_tensors(first), _tensors(alone), strict=True)
        )

    def _reads_local_alone(self, local: Tensor, below: Tensor, whole: SecondPass) -> bool:
        images = Dependence(below)
        with images:
            attempt = _result_of(lambda: self._attempt(local, below))  # some operations cannot be followed
        return (
            attempt is not None
            and _equal(attempt, whole)
            and not images.reached(attempt.representation, attempt.output)
        )

    def _works_on_one(self, local: Tensor, below: Tensor, whole: SecondPass) -> bool:
        attempt = _result_of(lambda: self._attempt(local, below))  # a network that took shapes from its input's fails
        return attempt is not None and _equal(attempt, whole)

    def _same_above(self, first: FirstPass, other: FirstPass | SecondPass) -> bool:
        return self._same(other.representation, first.representation) and self._same(other.output, first.output)

    def _same(self, one: Tensor, other: Tensor) -> bool:
        precision = self.precision if self.precision != torch.float32 else self._dtype
        return same(one, other, precision)


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
