"""What can be said of a network's layers after running it once: which run, in which order, which give maps."""

from __future__ import annotations

import difflib
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from milr.errors import MilrError
from milr.networks.trace import CHANNELS_FIRST, CHANNELS_LAST, Call, Shape, layout_of, readout_calls, resolution, trace
from milr.networks.wrappers import modules_by_name, plain_name
from milr.text import first_line


class Inspection:
    """One run of an unwrapped network over a few images, and one over a taller image to tell places from channels.

    Raises MilrError if the network fails on the images.
    """

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        self.network, self.images = network, images
        self.modules = modules_by_name(network)
        self.root, error = trace(network, images)
        if error is not None:
            raise MilrError(
                f"the network fails on images {list(images.shape)}, {images.dtype}, {images.device}: "
                f"{type(error).__name__}: {first_line(error) or 'no message'}"
            ) from error
        self.order = list(self.root.finished())
        self._layouts = self._find_layouts() if images.ndim == 4 else {}  # of every run that gives a map, by its id

    def name_of(self, name: str) -> str:
        """The layer's name in the unwrapped network; MilrError with the nearest ones if there is none."""
        if not isinstance(name, str):
            own = [known for known, module in self.modules.items() if module is name]
            what = f"a {type(name).__name__}" if isinstance(name, nn.Module) else repr(name)
            raise MilrError(
                f"layers are given by their names in the network, not as {what}" + (f": '{own[0]}'" if own else "")
            )
        for known in (name, plain_name(name)):
            if known in self.modules:
                return known
        near = difflib.get_close_matches(name, self.modules, n=5, cutoff=0.4)
        names = ", ".join(near or [child for child, _ in self.network.named_children()]) or "it has none"
        raise MilrError(f"the network has no layer '{name}'; nearest: {names}")

    def check_order(self, local: str, z: str) -> None:
        """MilrError unless both run once, give one tensor with a row for each image, and `z` ends later."""
        runs = {name: self._run_of(name) for name in (local, z)}
        if self.order.index(runs[z]) <= self.order.index(runs[local]):
            raise MilrError(f"the global layer '{z}' must come after the local layer '{local}'")
        for name, run in runs.items():
            if run.output is None:
                raise MilrError(f"layer '{name}' gives {run.description}: name one that gives one tensor")
            if not run.output or run.output[0] != len(self.images):
                raise MilrError(
                    f"layer '{name}' gives {run.description} for {len(self.images)} images: its first dimension must "
                    "count the images"
                )

    def layout(self, name: str, given: str | None, what: str, trust: bool = True) -> str:
        """How the layer's map lies in memory; what is `given` counts, without `trust` only where it cannot be inferred.

        MilrError for a layer without a map, and where it can neither be inferred nor is given.
        """
        if given not in (None, CHANNELS_FIRST, CHANNELS_LAST):
            raise MilrError(f"layout must be {CHANNELS_FIRST} or {CHANNELS_LAST}, not '{given}'")
        run = self._run_of(name)
        if run.output is None or len(run.output) != 4:
            raise MilrError(
                f"{what}, '{name}', gives no map [K, C, H, W] but {run.description}: name a convolutional layer"
            )
        seen = self._layouts.get(id(run))
        layout = (given or seen) if trust else (seen or given)
        if layout is None:
            raise MilrError(
                f"{what}, '{name}', gives {run.description} for images {list(self.images.shape[1:])}: which of its "
                f"dimensions are places cannot be inferred; say layout='{CHANNELS_FIRST}' or '{CHANNELS_LAST}'"
            )
        return layout

    def readout_layers(self) -> tuple[str, ...]:
        """Names of the last layers before the resolution changes; none for a network without maps."""
        places = {
            id(run): resolution(run.output, self._layouts[id(run)])
            for run in self.order
            # Dropout and softmax make no resolution, but they may work on attention, which looks like a map.
            if run.output and id(run) in self._layouts and not isinstance(run.module, (nn.Dropout, nn.Softmax))
        }
        places = {key: size for key, size in places.items() if size != (1, 1)}
        if not places:
            return ()
        names = {id(module): name for name, module in reversed(self.modules.items())}
        runs = readout_calls(self.root, places, image_size(self.images))
        return tuple(names[id(run.module)] for run in runs if id(run.module) in names)

    def _find_layouts(self) -> dict[int, str]:
        height, _ = size = image_size(self.images)
        dimension = list(self.images.shape).index(height, 1)
        taller, _ = trace(self.network, torch.cat([self.images[:1]] * 2, dimension))  # it may take one size only
        shapes = _shapes_by_run(taller)
        layouts = {}
        for (key, shape), run in zip(_shapes_by_run(self.root).items(), self.order, strict=True):
            layout = layout_of(shape, shapes.get(key), size) if shape and shape[0] == len(self.images) else None
            if layout is not None:
                layouts[id(run)] = layout
        return layouts

    def _runs(self, name: str) -> list[Call]:
        return [run for run in self.order if run.module is self.modules[name]]

    def _run_of(self, name: str) -> Call:
        """The one run of a layer."""
        runs = self._runs(name)
        if len(runs) == 1:
            return runs[0]
        message = f"layer '{name}' runs {len(runs)} times in one pass: name one that runs once"
        inside = [inner for inner in self.modules if inner.startswith(f"{name}.") and len(self._runs(inner)) == 1]
        if inside and not runs:
            message += f", such as '{inside[-1]}' (torch.fx graphs and some networks call the layers in it alone)"
        elif not runs and any(isinstance(module, torch.jit.ScriptModule) for module in self.network.modules()):
            message += "; TorchScript runs its layers without Python: pass the module that it was made of"
        raise MilrError(message)


def image_size(images: Tensor) -> tuple[int, int]:
    """(H, W) of images [K, 3, H, W], or [K, H, W, 3]."""
    _, first, second, third = images.shape
    return (first, second) if third <= 4 < first else (second, third)


def check_network(network: object) -> None:
    """MilrError for what is no module that runs in Python."""
    if not isinstance(network, nn.Module):
        raise MilrError(f"the network is a {type(network).__name__}, not a torch.nn.Module: its layers cannot be read")
    if isinstance(network, torch.jit.ScriptModule):
        raise MilrError("the network is TorchScript, whose layers run without Python: pass the module it was made of")
    if isinstance(network, torch.fx.GraphModule) and "eval" in vars(network):  # it raises NotImplementedError
        raise MilrError("the network is a graph of torch.export, which calls no layers: pass the module it was made of")
    if any(is_lazy(parameter) for parameter in network.parameters()):
        raise MilrError("the network has lazy layers that know no shapes yet: run it once on a batch of images")
    if any(tensor.is_inference() for tensor in chain(network.parameters(), network.buffers())):
        raise MilrError(
            "the network's weights were made under torch.inference_mode, so no gradient can pass them: build it "
            "outside, or take copy.deepcopy(network) outside"
        )


def check_example(example: object) -> None:
    """MilrError for what is no batch of images."""
    if not isinstance(example, Tensor):
        raise MilrError(f"example is a {type(example).__name__}, not a tensor [K, 3, H, W]")
    if example.ndim == 3 and example.shape[0] in (1, 3):
        raise MilrError(f"example is one image {list(example.shape)}, not a batch: pass example[None]")
    if example.ndim < 2 or not example.numel():
        raise MilrError(f"example is {list(example.shape)}: pass a batch of one or more images [K, 3, H, W]")
    if example.is_floating_point() and not example.isfinite().all():
        raise MilrError("example holds nan or inf")


def _shapes_by_run(root: Call) -> dict[tuple[int, int], Shape | None]:
    """Output shapes by module and the number of its run, in the order in which the runs end."""
    shapes: dict[tuple[int, int], Shape | None] = {}
    counts: dict[int, int] = {}
    for call in root.finished():
        number = counts[id(call.module)] = counts.get(id(call.module), 0) + 1
        shapes[id(call.module), number] = call.output
    return shapes
