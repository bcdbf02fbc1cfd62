"""How a layer's tensor holds the places of a map, and the way from it to [K, C, H, W] and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from milr.errors import MilrError
from milr.networks.outputs import called

CHANNELS_FIRST, CHANNELS_LAST = "channels_first", "channels_last"  # [K, C, H, W] or [K, C, T], and [K, H, W, C]
TOKENS, SEQUENCE = "tokens", "sequence"  # [K, T, C], of a grid and of words or times

Reading = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Layout:
    """Where the places are in a layer's tensor.

    Tokens before and behind the grid (of the class, registers) are no places: `put` leaves them as the network gave
    them. A sequence is a grid of one row.
    """

    kind: str
    grid: tuple[int, int]  # (H, W)
    prefix: int = 0  # tokens before the grid

    def __str__(self) -> str:
        """As in "tokens 1 + 14 x 14"."""
        size = f"{self.grid[1]}" if self.kind == SEQUENCE else f"{self.grid[0]} x {self.grid[1]}"
        return f"{self.kind} {f'{self.prefix} + ' if self.prefix else ''}{size}"

    @property
    def places_end(self) -> int:
        """The number of the first token behind the grid."""
        return self.prefix + self.grid[0] * self.grid[1]

    def places(self, tensor: Tensor) -> Tensor:
        """[K, C, H, W] of what the layer gives."""
        if self.kind == CHANNELS_FIRST:
            return tensor[:, :, None] if tensor.ndim == 3 else tensor
        if self.kind == CHANNELS_LAST:
            return tensor.permute(0, 3, 1, 2)
        return tensor[:, self.prefix : self.places_end].transpose(1, 2).unflatten(2, self.grid)

    def put(self, tensor: Tensor, places: Tensor) -> Tensor:
        """What the layer would give with these places [K, C, H, W]: a new tensor, the next layer may work in place."""
        if self.kind == CHANNELS_FIRST:
            return (places[:, :, 0] if tensor.ndim == 3 else places).to(tensor.dtype, copy=True)
        if self.kind == CHANNELS_LAST:
            return places.permute(0, 2, 3, 1).contiguous().to(tensor.dtype, copy=True)
        tokens = places.flatten(2).transpose(1, 2).to(tensor.dtype)
        before, behind = tensor[:, : self.prefix], tensor[:, self.places_end :]
        if before.shape[1] + behind.shape[1] == 0:
            return tokens.contiguous().clone()
        return torch.cat([before, tokens, behind], 1)


def read_representation(
    tensor: Tensor, read: str | Reading, layout: Layout | None, name: str, class_token: int | None
) -> Tensor:
    """z [K, D] of what the layer of this name gives, as the setting `read` says; MilrError where that cannot be.

    `class_token` is the number of the token that is known to be it; else it is the first that is no place.
    """
    if callable(read):
        z = called("read", read, tensor)
        if not isinstance(z, Tensor) or z.ndim != 2 or len(z) != len(tensor):
            given = list(z.shape) if isinstance(z, Tensor) else type(z).__name__
            raise MilrError(f"the function read gives {given} for layer '{name}': it must give z [K, D]")
        return z
    tokens = layout is not None and layout.kind in (TOKENS, SEQUENCE)
    if read == "auto" and tokens and layout:
        read = "cls" if layout.prefix or class_token is not None else "pool"
    if read == "cls":
        first = 0 if layout is None or layout.prefix or layout.kind == SEQUENCE else layout.places_end
        first = first if class_token is None else class_token
        if not tokens or first >= tensor.shape[1]:
            raise MilrError(
                f"the global layer '{name}' gives {list(tensor.shape)} without a class token: read=pool or flatten"
            )
        return tensor[:, first]
    if read == "pool" and tensor.ndim > 2:
        if layout is None and tensor.ndim == 4 and tensor.shape[2:] == (1, 1):
            return tensor.flatten(1)
        if layout is None:
            raise MilrError(
                f"read=pool is a mean over places, which the global layer '{name}' {list(tensor.shape)} is not known "
                "to have: say layout=, or read=flatten"
            )
        return layout.places(tensor).mean((2, 3))
    return tensor.flatten(1)
