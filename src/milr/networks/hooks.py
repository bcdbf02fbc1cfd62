"""Hooks on the layers of a network by name: what one gives in the run that counts, read or replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from milr.errors import MilrError
from milr.networks.outputs import describe, features_in


@dataclass(frozen=True)
class HookedLayer:
    """A layer, and which of its runs in one pass counts (from 0); or what goes into it, which is only read."""

    name: str
    module: nn.Module
    run: int
    entry: bool = False  # whether what goes in is meant
    after_own: bool = False  # read after hooks of the network's own, which may change what the layer gives

    def on_output(self, act: Callable[[Any], Any]) -> RemovableHandle:
        """A hook whose function sees what the layer gives in that run, and may give something else; None: the same.

        It comes before hooks of the network's own, which may keep what they see for a later layer (U-Nets by hooks).
        """
        runs = 0

        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            """Counts the runs."""
            nonlocal runs
            runs += 1
            return act(output) if runs - 1 == self.run else None

        return self.module.register_forward_hook(hook, prepend=not self.after_own)

    def on_input(self, act: Callable[[Any], Any]) -> RemovableHandle:
        """A hook whose function sees what goes into the layer in that run."""
        runs = 0

        def hook(module: nn.Module, inputs: Any) -> None:
            """Counts the runs."""
            nonlocal runs
            runs += 1
            if runs - 1 == self.run:
                act(inputs[0])

        return self.module.register_forward_pre_hook(hook)

    def features(self, output: Any) -> Tensor:
        """The features in what it gave. MilrError where these are no dense tensor."""
        features = features_in(output)
        if features is None:
            raise MilrError(f"layer '{self.name}' gives {describe(output)}, without a tensor in it")
        if features.is_quantized:
            raise MilrError(f"layer '{self.name}' gives quantised numbers, which have no gradient: quantise afterwards")
        if features.layout != torch.strided:
            raise MilrError(f"layer '{self.name}' gives a sparse tensor: name one that gives a dense one")
        return features

    def keep_in(self, seen: dict[str, Tensor], output: Any) -> None:
        """Keeps a copy of the features under the layer's name: the next layer may work in place."""
        seen[self.name] = self.features(output).clone()


@contextmanager
def recorded(layers: Iterable[HookedLayer]) -> Iterator[dict[str, Tensor]]:
    """The features that these layers give within the body, by name."""
    seen: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for layer in layers:
            see = layer.on_input if layer.entry else layer.on_output
            hooks.enter_context(see(partial(layer.keep_in, seen)))
        yield seen


def require_rows(seen: Mapping[str, Tensor], names: Iterable[str], images: int) -> None:
    """MilrError where a layer did not run in a pass over so many images, or not on all of them."""
    if gone := set(names) - seen.keys():
        raise MilrError(
            f"layer '{gone.pop()}' did not run: was a layer of the network replaced? Make a new explainer. Or does "
            "it choose its layers by the images (experts, early exits), or keep what it gave for them (a cache)? Name "
            "others, for the mask too (mask.stages)"
        )
    for name, features in seen.items():
        if len(features) != images:
            raise MilrError(
                f"layer '{name}' gives {list(features.shape)} for {images} images: it must run on all of "
                "them (one expert of several does not; of a network that works through its batch in parts give smaller "
                "ones); name another, and of layers that the mask reads mask.stages"
            )
