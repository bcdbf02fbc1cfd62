"""Whether a network is still the one whose features the small modules know."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import Tensor, nn

from milr.errors import MilrError
from milr.networks.attributes import values_of
from milr.networks.freezing import weights_sha256
from milr.networks.own_state import norms, versions


class KnownNetwork:
    """The network, to the bit, whose features the small modules know."""

    def __init__(self, network: nn.Module, written: Collection[str] = ()) -> None:
        self.sha256, self._written = weights_sha256(network, written), written  # which do not count: counters
        self._seen = versions(network, written), norms(network, written)
        self._code = _code(network)

    def require_same(self, network: nn.Module) -> None:
        """MilrError if its weights or buffers are others than they were. Reads all only if one seems written to."""
        if (now := (versions(network, self._written), norms(network, self._written))) == self._seen:
            return
        if weights_sha256(network, self._written) != self.sha256:
            raise MilrError(
                "the network's weights or buffers changed since prepare(...): its features are others now; prepare and "
                "fit again (a fitted module of the network as it was: put the old weights back)"
            )
        self._seen = now

    def may_compute_otherwise(self, network: nn.Module) -> bool:
        """Whether layers, hooks or plain attributes are others than at the last `remember_code`."""
        return self._code != _code(network)

    def remember_code(self, network: nn.Module) -> None:
        """They are known as they are now."""
        self._code = _code(network)


def _code(network: nn.Module) -> list[Any]:
    """What tells that the same weights may be computed with in another way, without running anything."""
    layers = [
        (name, id(module), id(vars(module).get("forward")), *map(id, hooks.values()))
        for name, module in network.named_modules()
        for hooks in (module._forward_hooks | module._forward_pre_hooks,)
    ]
    values = values_of(network)
    return layers + [(name, id(one) if isinstance(one, Tensor) else repr(one)) for name, one in values.items()]
