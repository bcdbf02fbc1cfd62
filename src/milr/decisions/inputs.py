"""What users pass as images, brought to the form that the network takes; what could mean two things is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from inspect import signature
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from milr.default_device import on_the_cpu
from milr.errors import MilrError
from milr.networks.inputs import Inputs, tensors_of
from milr.networks.layers import LayerPair
from milr.networks.outputs import entries


@contextmanager
def own_modes(layers: LayerPair, gradients: bool) -> Iterator[None]:
    """Gradients as the work needs them, without the caller's autocast, `no_grad`, `inference_mode` or default device.

    Tensors made in inference mode could not be fitted later, and information in bfloat16 has three digits.
    """
    kind = device_of(layers).type
    no_autocast = torch.autocast(kind, enabled=False)
    with on_the_cpu(), torch.inference_mode(False), torch.set_grad_enabled(gradients), no_autocast:
        yield


def device_of(layers: LayerPair) -> torch.device:
    """Where the network of these layers lies."""
    return network_device(layers.network)


def network_device(network: nn.Module) -> torch.device:
    """Where a network's first parameter or buffer lies; the CPU where it has none."""
    tensors = chain(network.parameters(), network.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def named_in(item: Any) -> Any:
    """A dict of what a NamedTuple or a dataclass holds; anything else as it is."""
    return entries(item) if hasattr(item, "_asdict") or is_dataclass(item) else item


def images_of(given: object, layers: LayerPair, what: str) -> Inputs:
    """The images [K, ...] in `given`, on the network's device and in the precision of its example.

    A tensor or an array [K, ...], one image without K, a list of single images, or a pair or dict with exactly one such
    thing in it (what a DataLoader of images and labels gives). Of a network that is called with a dict or with several
    tensors such a dict, or a tuple of them; what else is in it is left out. `what` names them in the MilrError for
    anything else.
    """
    given = named_in(given)
    if isinstance(layers.example, Tensor):
        return _one_of(given, layers.example, device_of(layers), what)
    if isinstance(layers.example, dict) and len(layers.example) == 1 and not _has_dict(given):
        return {name: _one_of(given, one, device_of(layers), what) for name, one in layers.example.items()}
    if isinstance(given, list | tuple):  # (inputs, labels)
        several = Mapping if isinstance(layers.example, dict) else (list, tuple)
        given = next((item for item in given if isinstance(item, several)), given)
    held = {str(key): value for key, value in entries(given).items()}
    wanted = tensors_of(layers.example)
    if missing := [name for name in wanted if name not in held]:
        names = ", ".join(f"{name} {_written(('K', *one.shape[1:]))}" for name, one in wanted.items())
        raise MilrError(f"{what}: '{missing[0]}' is missing in {described(given)}; the network is called with {names}")
    device = device_of(layers)
    parts = {name: _one_of(held[name], one, device, f"'{name}' of {what}") for name, one in wanted.items()}
    if len({len(part) for part in parts.values()}) > 1:
        raise MilrError(
            f"{what} hold {', '.join(f'{len(part)} {name}' for name, part in parts.items())}: as many of each"
        )
    return parts if isinstance(layers.example, dict) else tuple(parts.values())


def _has_dict(given: object) -> bool:
    """Whether it is a dict, or has one in it."""
    return isinstance(given, Mapping) or (
        isinstance(given, list | tuple) and any(isinstance(part, Mapping) for part in given)
    )


def _one_of(given: object, example: Tensor, device: torch.device, what: str) -> Tensor:
    """The tensor [K, ...] in `given` that is like the example."""
    shape = tuple(example.shape[1:])
    if isinstance(given, Mapping | list | tuple):
        given = _chosen(given, shape, what)
    images = _tensor(given, what)
    if images.layout != torch.strided or images.is_nested or images.is_meta:
        raise MilrError(f"{what} must be a dense tensor with values in it (not sparse, nested or on the device meta)")
    if tuple(images.shape) == shape:
        images = images[None]
    if tuple(images.shape[1:]) != shape or images.ndim == 0:
        raise MilrError(
            f"{what} must have the shape {_written(('K', *shape))}, as the example had, not "
            f"{_written(tuple(images.shape))}{_shape_hint(images, shape)}"
        )
    if not len(images):
        raise MilrError(f"{what} holds no image: its shape is {_written(tuple(images.shape))}")
    _check_dtype(images, example.dtype, what)
    images = images.detach().as_subclass(Tensor)
    images = images.to(device, example.dtype)
    return images.clone() if images.is_inference() else images


def require_one_argument(function: Callable[..., Any], use: str) -> None:
    """MilrError, beginning with how it is used, for a function that cannot be called with one argument alone."""
    try:
        signature(function).bind(None)
    except TypeError as error:
        raise MilrError(f"{use}: {error}") from None
    except ValueError:  # a function that does not tell
        pass


def described(value: object) -> str:
    """A value in a few words: the shape of a tensor or an array, the type of anything else."""
    name = f"{type(value).__module__.partition('.')[0]}.{type(value).__qualname__}".removeprefix("builtins.")
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"a {name} {_written(tuple(shape))}"
    return repr(value) if isinstance(value, int | float | str | None) else f"a {name}"


def dtype_name(given: Tensor | torch.dtype) -> str:
    """As "float32"."""
    return str(given.dtype if isinstance(given, Tensor) else given).removeprefix("torch.")


def _chosen(given: Mapping[Any, Any] | Sequence[Any], shape: tuple[int, ...], what: str) -> Any:
    """The one thing in a pair, list or dict that can be the images."""
    if isinstance(given, list) and given and all(_shape(item) == shape for item in given):
        return torch.stack([_tensor(item, what) for item in given])
    items = list(given.items()) if isinstance(given, Mapping) else list(enumerate(given))
    if not isinstance(given, Mapping):  # (inputs, labels), the inputs in a dict
        items = [pair for key, item in items for pair in (item.items() if isinstance(item, Mapping) else [(key, item)])]
    images = [item for _, item in items if _shape(item) == shape or _shape(item)[1:] == shape]
    if len(images) == 1:
        return images[0]
    held = ", ".join(f"{key}: {described(item)}" for key, item in items[:5]) + (", ..." if len(items) > 5 else "")
    wanted = _written(("K", *shape))
    if images:
        raise MilrError(f"{what} is a {type(given).__name__} with {len(images)} things of {wanted} ({held}): pass one")
    raise MilrError(f"{what} is a {type(given).__name__} without images {wanted} ({held})")


def _shape(item: object) -> tuple[int, ...]:
    return tuple(item.shape) if isinstance(item, Tensor | np.ndarray) else ()


def _tensor(given: object, what: str) -> Tensor:
    if isinstance(given, Tensor):
        return given
    if not isinstance(given, np.ndarray):
        hint = "give a batch of it at a time" if hasattr(given, "__iter__") and not isinstance(given, str) else ""
        hint = hint or "turn pictures into tensors as in training"
        raise MilrError(f"{what} must be a tensor, not {described(given)}: {hint}")
    try:
        return torch.from_numpy(given.copy(order="C"))
    except (TypeError, ValueError):
        raise MilrError(f"{what} is an array of {given.dtype}: convert it as in training") from None


def _check_dtype(images: Tensor, wanted: torch.dtype, what: str) -> None:
    if images.dtype != wanted and not (images.is_floating_point() and wanted.is_floating_point):
        hint = ": scale and normalise it as in training" if wanted.is_floating_point else ""
        was = str(wanted).removeprefix("torch.")
        raise MilrError(f"{what} is {dtype_name(images)}, the example was {was}{hint}")


def _shape_hint(images: Tensor, shape: tuple[int, ...]) -> str:
    given = tuple(images.shape[-len(shape) :])
    if len(shape) == 1 and images.ndim == 2:
        return f": pad or cut all to one length (padding='max_length', max_length={shape[0]}), masks too"
    if len(shape) == 3 and given == (*shape[1:], shape[0]):
        return ": channels come first, permute them"
    if len(shape) == 3 and len(given) == 3 and given[0] == shape[0]:
        return ": resize them, or make the explainer with an example of this size"
    return ""


def _written(shape: tuple[object, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
