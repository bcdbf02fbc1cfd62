"""What modules hold as plain attributes, and not as parameters or buffers: tensors, numbers, containers of them."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from milr.networks.freezing import dense, same_values

VALUES = (Tensor, np.ndarray, np.generic, int, float, str, type(None))
CONTAINERS = (dict, list, tuple, deque, set, frozenset)
LIBRARIES = {*sys.stdlib_module_names, "numpy", "torch"}  # whose objects are no state of a network's own
# transformers notes so that its hooks are there: put back, it adds them again, and every hidden state comes twice.
MODULES_OWN = {*vars(nn.Module()), "_output_capturing_hooks_installed"}
MOST = 10_000  # values in one attribute that are looked at: more are data, and no state
DEEPEST = 8  # containers within each other


@dataclass(frozen=True)
class Held:
    """An object, and a copy of what it held: of a tensor its values on the CPU, of a container what is in it.

    None for what is not put back: it has no values, or was not looked into.
    """

    value: Any
    copy: Any = None


def values_of(network: nn.Module) -> dict[str, Any]:
    """Tensors, numbers and texts by the attribute's name and where they lie in it: "layer.mean", "layer.seen[mean]"."""
    return {name: value for _, inside in _looked_at(network).values() for name, value in inside}


def held_by(network: nn.Module, names: Collection[str] | None = None) -> dict[str, Held]:
    """What is held under these names of attributes, or under all that are looked at."""
    held = _looked_at(network)
    return {name: _held(value) for name, (value, _) in held.items() if names is None or name in names}


def attribute_of(name: str) -> str:
    """The attribute that a value of `values_of` lies in."""
    return name.partition("[")[0]


def copied(value: Any) -> Any:
    """A value of `values_of` as it is now, on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    return value.copy() if isinstance(value, np.ndarray) else value


def alike(before: Any, now: Any, share: float) -> bool:
    """Whether a value is what it was: `before` is a copy on the CPU, tensors may differ by a share of their norm."""
    if isinstance(before, Tensor) and isinstance(now, Tensor):
        value = now.detach().cpu()
        return same_values(before, value) or near(before, value, share)
    if isinstance(before, np.ndarray) and isinstance(now, np.ndarray):
        return (before.dtype, before.shape, before.tobytes()) == (now.dtype, now.shape, now.tobytes())
    return type(before) is type(now) and bool(before == now or (before != before and now != now))  # nan


def near(one: Tensor, other: Tensor, share: float) -> bool:
    """Whether two tensors of floats differ by no more than a share of their norm."""
    if one.shape != other.shape or not (one.is_floating_point() and share):
        return False
    return bool((dense(one).double() - dense(other).double()).norm() <= share * dense(one).double().norm())


def put_attribute(network: nn.Module, name: str, held: Held | None) -> None:
    """The same object as before, with what it held then; where there was none, there is none."""
    owner, _, key = name.rpartition(".")
    module = dict(network.named_modules()).get(owner)
    own = vars(module) if isinstance(module, nn.Module) else {}
    if key in own and held is not None:  # else it is a layer or a buffer by now
        own[key] = _restored(held)
    else:
        own.pop(key, None)


def _looked_at(network: nn.Module) -> dict[str, tuple[Any, list[tuple[str, Any]]]]:
    """Plain attributes that may be state, by name, with the values that lie in each."""
    states: dict[str, tuple[Any, list[tuple[str, Any]]]] = {}
    for prefix, module in network.named_modules():
        for key, value in vars(module).items():
            name = f"{prefix}.{key}".removeprefix(".")
            if key in MODULES_OWN or not _is_state(value) or (isinstance(value, CONTAINERS) and len(value) > MOST):
                continue
            inside = list(islice(_values(name, value), MOST + 1))
            if len(inside) <= MOST:
                states[name] = value, inside
    return states


def _values(name: str, value: Any, around: tuple[int, ...] = ()) -> Iterator[tuple[str, Any]]:
    """What lies in a value; around: the ids of the containers that it lies in."""
    if isinstance(value, VALUES):
        if not isinstance(value, Tensor) or _plain(value):
            yield name, value
    elif _may_enter(value, around):
        for key, part in _inside(value).items():
            yield from _values(f"{name}[{key}]", part, (*around, id(value)))


def _is_state(value: Any) -> bool:
    if isinstance(value, Tensor):
        return _plain(value)
    return isinstance(value, (*VALUES, *CONTAINERS)) or _has_fields(value)


def _may_enter(value: Any, around: tuple[int, ...]) -> bool:
    """Whether it is a container that is looked into: not too deep, and not within itself, as a child's parent is."""
    container = isinstance(value, CONTAINERS) or _has_fields(value)
    return container and len(around) <= DEEPEST and id(value) not in around


def _inside(value: Any) -> dict[Any, Any]:
    """What a container holds, by key, number or name."""
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, list | tuple | deque):
        return dict(enumerate(value))
    if isinstance(value, set | frozenset):
        return dict.fromkeys(value)
    return dict(vars(value))


def _has_fields(value: Any) -> bool:
    """Whether it is an object of a class of the network's own, as a dataclass is, and no layer."""
    own = not isinstance(value, nn.Module) and type(value).__module__.partition(".")[0] not in LIBRARIES
    return hasattr(value, "__dict__") and (own or isinstance(value, SimpleNamespace))


def _held(value: Any, around: tuple[int, ...] = ()) -> Held:
    if isinstance(value, VALUES):
        return Held(value, None if isinstance(value, Tensor) and not _plain(value) else copied(value))
    if not _may_enter(value, around):
        return Held(value)
    return Held(value, {key: _held(part, (*around, id(value))) for key, part in _inside(value).items()})


@torch.no_grad()
def _restored(held: Held) -> Any:
    value, copy = held.value, held.copy
    if isinstance(value, Tensor):
        if copy is not None and not alike(copy, value, 0.0):
            value.data.copy_(copy)
    elif isinstance(value, np.ndarray):
        if not alike(copy, value, 0.0):  # an array may be one that cannot be written to
            value[...] = copy
    elif not isinstance(value, VALUES) and copy is not None:
        _refill(value, {key: _restored(part) for key, part in copy.items()})
    return value


def _refill(value: Any, parts: dict[Any, Any]) -> None:
    """The container holds these again, and nothing else. One that still does is left alone: it may refuse writes."""
    now = _inside(value)
    if now.keys() == parts.keys() and all(now[key] is part for key, part in parts.items()):
        return
    if isinstance(value, list):
        value[:] = parts.values()
    elif isinstance(value, deque):
        value.clear()
        value.extend(parts.values())
    elif isinstance(value, dict | set):
        value.clear()
        value.update(parts)
    elif not isinstance(value, tuple | frozenset):
        vars(value).clear()
        vars(value).update(parts)


def _plain(value: Tensor) -> bool:
    odd = value.layout != torch.strided or value.is_nested or value.is_quantized or value.is_meta
    return not (odd or isinstance(value, nn.Parameter))  # a recurrent layer lists its own
