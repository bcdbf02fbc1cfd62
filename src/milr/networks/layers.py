"""Reading two layers of a frozen network by name, and running its upper part again from changed local features."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from milr.errors import MilrError

Hook = Callable[[nn.Module, Any, Any], Any]


@contextmanager
def frozen(network: nn.Module, *others: nn.Module) -> Iterator[nn.Module]:
    """The network in `eval()`, without gradients to its parameters; both are put back on leaving, also by an error."""
    every = (network, *others)
    modes = [(module, module.training) for one in every for module in one.modules()]
    gradients = [(parameter, parameter.requires_grad) for one in every for parameter in one.parameters()]
    for one in every:
        one.eval().requires_grad_(False)
    try:
        yield network
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad in gradients:
            parameter.requires_grad_(requires_grad)


def fingerprint(network: nn.Module) -> str:
    """sha256 over every parameter and buffer, to the bit: what a frozen network must have before and after."""
    digest = sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class FirstPass:
    """What the untouched network computes from K images."""

    local: Tensor  # x, the local features [K, C, H, W]
    representation: Tensor  # z [K, D]
    stages: tuple[Tensor, ...]  # the features of every stage, each [K, C_s, H_s, W_s]
    output: Tensor  # what the network itself returns [K, E]


@dataclass(frozen=True)
class SecondPass:
    """What the upper part computes from occluded local features."""

    representation: Tensor  # z' [K, D]
    output: Tensor  # [K, E]


class LayerPair:
    """A network with a local and a global layer named in it. It alone sets hooks, each taken off within the same call.

    `local` and `global_` are names of the module tree ("layer1", "layer3.1", "avgpool"). `stages` names the layers
    whose features the mask is read from; by default the network's top-level blocks. `example` holds two or more
    images [K, 3, S, S] of the kind to come: the layers' order and shapes are read from them. `precision` other than
    float32 runs the network under autocast; what comes out is float32 always.

    Raises MilrError for a name that does not exist (with the nearest ones), a layer that runs never or more than once,
    a local layer without a map [K, C, H, W], and a global layer that runs before the local one.
    """

    def __init__(
        self,
        network: nn.Module,
        local: str,
        global_: str,
        example: Tensor,
        stages: Sequence[str] | None = None,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.precision = precision
        self.network, self.local, self.global_ = network, local, global_
        self._modules = dict(network.named_modules())
        for name in (local, global_, *(stages or ())):
            self._check_name(name)
        self.input_shape, self.input_dtype = tuple(example.shape[1:]), example.dtype
        calls = self._calls(example)
        self._check_order(calls)
        self.stages = tuple(stages) if stages else self._blocks(calls)
        for name in self.stages:
            self._check_map(calls, name, "a layer that the mask reads")
        first = self.first_pass(example)
        self.local_shape = tuple(first.local.shape[1:])  # (C, H, W)
        self.stage_channels = tuple(stage.shape[1] for stage in first.stages)
        self.dimension = first.representation.shape[1]  # D
        # Everything above the local layer depends on x alone in a plain chain of layers, so that the part below may see
        # one image only and costs next to nothing. A network with a bypass around the local layer must see all of them.
        self._one_image_below = True
        self._one_image_below = self._resumes_exactly(first, example)
        if not self._resumes_exactly(first, example):
            raise MilrError(f"running the network twice from '{local}' gives two results: is a layer of it random?")

    def first_pass(self, images: Tensor) -> FirstPass:
        """The untouched pass over images [K, 3, S, S], without gradients."""
        seen: dict[str, Tensor] = {}

        def keep(name: str) -> Hook:
            """A hook that keeps what the layer of this name gives."""

            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                seen[name] = output.clone()  # the next layer may work in place

            return hook

        names = {self.local, self.global_, *self.stages}
        with torch.no_grad(), frozen(self.network), ExitStack() as hooks:
            for name in names:
                hooks.enter_context(self._modules[name].register_forward_hook(keep(name)))
            output = self._run(images)
        return FirstPass(
            local=seen[self.local].float(),
            representation=seen[self.global_].flatten(1).float(),
            stages=tuple(seen[name].float() for name in self.stages),
            output=output.flatten(1).float(),
        )

    def second_pass(self, occluded: Tensor, images: Tensor) -> SecondPass:
        """The pass in which `occluded` [K, C, H, W] replaces the local features; gradients flow to `occluded`."""
        seen: list[Tensor] = []

        def replace(module: nn.Module, inputs: Any, output: Any) -> Tensor:
            return occluded.to(output.dtype, copy=True)  # the next layer may work in place

        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            seen.append(output)

        below = images[:1] if self._one_image_below else images
        with frozen(self.network), ExitStack() as hooks:
            hooks.enter_context(self._modules[self.local].register_forward_hook(replace))
            hooks.enter_context(self._modules[self.global_].register_forward_hook(keep))
            output = self._run(below)
        return SecondPass(representation=seen[0].flatten(1).float(), output=output.flatten(1).float())

    def _run(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, self.precision, enabled=self.precision != torch.float32):
            output: Tensor = self.network(images)
        if not isinstance(output, Tensor):
            raise MilrError(f"the network gives a {type(output).__name__}: wrap it in a module that gives one tensor")
        return output

    def _resumes_exactly(self, first: FirstPass, example: Tensor) -> bool:
        try:
            with torch.no_grad():
                second = self.second_pass(first.local, example)
        except (RuntimeError, ValueError):  # shapes of a bypass that saw another number of images
            return False
        return torch.equal(second.representation, first.representation) and torch.equal(second.output, first.output)

    def _check_name(self, name: str) -> None:
        if name not in self._modules or not name:
            near = difflib.get_close_matches(name, self._modules, n=5, cutoff=0.4)
            known = ", ".join(near) if near else ", ".join(n for n, _ in self.network.named_children())
            raise MilrError(f"the network has no layer '{name}'; nearest: {known}")

    def _calls(self, example: Tensor) -> list[tuple[str, Any]]:
        """Every module's (name, output) in the order in which they finish."""
        calls: list[tuple[str, Any]] = []

        def note(name: str) -> Hook:
            return lambda module, inputs, output: calls.append((name, output))

        with torch.no_grad(), frozen(self.network), ExitStack() as hooks:
            for name, module in self._modules.items():
                hooks.enter_context(module.register_forward_hook(note(name)))
            self.network(example)
        return calls

    def _check_order(self, calls: list[tuple[str, Any]]) -> None:
        order = [name for name, _ in calls]
        for name in (self.local, self.global_):
            self._check_once(order, name)
        if order.index(self.global_) <= order.index(self.local):
            raise MilrError(f"the global layer '{self.global_}' must come after the local layer '{self.local}'")
        self._check_map(calls, self.local, "the local layer")

    def _check_once(self, order: list[str], name: str) -> None:
        if order.count(name) != 1:
            raise MilrError(f"layer '{name}' runs {order.count(name)} times in one pass: name one that runs once")

    def _check_map(self, calls: list[tuple[str, Any]], name: str, what: str) -> None:
        self._check_once([called for called, _ in calls], name)
        output = dict(calls)[name]
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise MilrError(f"{what}, '{name}', gives no map [K, C, H, W]: name a convolutional layer")

    def _blocks(self, calls: list[tuple[str, Any]]) -> tuple[str, ...]:
        """The top-level blocks that give maps: layer1 … layer4 in a ResNet; without blocks, every top-level layer."""
        order = [name for name, _ in calls]
        maps = {name for name, out in calls if isinstance(out, Tensor) and out.ndim == 4 and out.shape[-1] > 1}
        maps = {name for name in maps if order.count(name) == 1}
        children = [(name, child) for name, child in self.network.named_children() if name in maps]
        blocks = [name for name, child in children if next(child.children(), None) is not None]
        return tuple(blocks or [name for name, _ in children] or [self.local])
