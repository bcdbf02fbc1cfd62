"""Whether a network is still the one whose features the small modules know."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn
from torch.linalg import vector_norm

from milr.errors import MilrError
from milr.networks.freezing import dense, weights_sha256


class KnownNetwork:
    """The network, to the bit, whose features the small modules know."""

    def __init__(self, network: nn.Module) -> None:
        self.sha256 = weights_sha256(network)
        self._seen = versions(network), norms(network)

    def require_same(self, network: nn.Module) -> None:
        """MilrError if its weights or buffers are others than they were. Reads all only if one seems written to."""
        if (now := (versions(network), norms(network))) == self._seen:
            return
        if weights_sha256(network) != self.sha256:
            raise MilrError(
                "the network's weights or buffers changed since prepare(...): its features are others now; prepare and "
                "fit again (a fitted module of the network as it was: put the old weights back)"
            )
        self._seen = now


def versions(network: nn.Module) -> list[tuple[int, int, int]]:
    """What changes with most ways of writing to a network's tensors, without reading them."""
    return [
        (
            id(tensor),
            tensor.data_ptr() if tensor.layout == torch.strided else 0,
            0 if tensor.is_inference() else tensor._version,
        )
        for tensor in chain(network.parameters(), network.buffers())
    ]


@torch.no_grad()
def norms(network: nn.Module) -> list[float]:
    """The norm of every parameter and buffer of floats: writing through `.data` or NumPy leaves the versions alone."""
    tensors = [tensor for tensor in chain(network.parameters(), network.buffers()) if tensor.is_floating_point()]
    result = [vector_norm(dense(tensor), dtype=torch.promote_types(tensor.dtype, torch.float32)) for tensor in tensors]
    joined: list[float] = torch.stack([norm.to(result[0].device) for norm in result]).tolist() if result else []
    return joined
