"""Whether what a network computes comes from certain tensors, seen in its operations and not in their values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Dependence(TorchDispatchMode):
    """While it is on, follows what is computed from `sources`; their shapes do not count.

    A gate that is shut for the images at hand lets nothing through that could be seen in the values, and is found all
    the same. What NumPy computes is not followed.
    """

    def __init__(self, *sources: Tensor) -> None:
        super().__init__()
        self._memory: dict[int, Any] = {}  # by address, and held: a freed address would be another tensor's soon
        self.branched = False  # a number of Python was read from them: anything may depend on it
        self._mark(sources)

    def reached(self, *tensors: Tensor) -> bool:
        """Whether any of the tensors was computed from the sources."""
        return self.branched or any(tensor.untyped_storage().data_ptr() in self._memory for tensor in tensors)

    def _mark(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            storage = tensor.untyped_storage()
            self._memory[storage.data_ptr()] = storage

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        read = self.reached(*_tensors((args, kwargs)))
        result = func(*args, **kwargs)
        if read:
            results = tree_leaves(result)
            self.branched = self.branched or any(isinstance(one, bool | int | float | complex) for one in results)
            self._mark([*_tensors(result), *_written(func, args, kwargs)])
        return result


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The arguments that an operation in place writes to."""
    names = {
        argument.name for argument in func._schema.arguments if argument.alias_info and argument.alias_info.is_write
    }
    given = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | kwargs
    return _tensors([value for name, value in given.items() if name in names])
