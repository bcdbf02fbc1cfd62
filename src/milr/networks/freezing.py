"""A network that is only read: frozen while it runs, and the same to the bit afterwards."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from hashlib import sha256

import torch
from torch import Tensor, nn

from milr.networks.wrappers import without_wrappers, wrapper_names

# One lock for all networks, since two of them may share modules. A second thread that froze a network which the first
# has frozen already would remember the frozen modes as the network's own.
_LOCK = threading.RLock()


@contextmanager
def frozen(network: nn.Module, *others: nn.Module) -> Iterator[nn.Module]:
    """The modules in `eval()`, without gradients to their parameters; both are put back on leaving, also by an error.

    One thread at a time: others wait, so that no pass sees the modes or the hooks of another.
    """
    with _LOCK:
        every = {id(module): module for root in (network, *others) for module in root.modules()}
        modes = [(module, module.training) for module in every.values()]
        parameters = {id(p): p for module in every.values() for p in module.parameters(recurse=False)}
        gradients = [(parameter, parameter.requires_grad) for parameter in parameters.values()]
        leaving = [module for module in every.values() if module.training and _has_own_train(module)]
        weights = {id(p): (p, p.detach().clone()) for module in leaving for p in module.parameters(recurse=False)}
        try:
            for root in (network, *others):
                root.eval()  # not chained: a network's own train() may return nothing
                root.requires_grad_(False)
            yield network
        finally:
            for module in leaving:
                module.train()  # as low-rank adapters do that add themselves to a layer's weights in eval()
            for parameter, value in weights.values():
                parameter.data.copy_(value)  # to the bit: what was added and taken away again is rounded
            for module, training in modes:
                module.training = training
            for parameter, requires_grad in gradients:
                parameter.requires_grad_(requires_grad)


def _has_own_train(module: nn.Module) -> bool:
    """Whether a change of its mode may do more than that."""
    return type(module).train is not nn.Module.train or type(module).eval is not nn.Module.eval


def same_values(first: Tensor, second: Tensor) -> bool:
    """Whether two buffers hold the same; nan is as nan, and a sparse one may be, too."""
    if first.shape != second.shape:
        return False
    one, other = dense(first), dense(second)
    return bool(((one == other) | ((one != one) & (other != other))).all())


def dense(value: Tensor) -> Tensor:
    """The same, not sparse: of a sparse one torch tells neither what is equal nor what is nan."""
    return value if value.layout == torch.strided else value.to_dense()


def weights_sha256(network: nn.Module, but: Collection[str] = ()) -> str:
    """sha256 over every parameter and buffer but those named, to the bit: what a frozen network must have afterwards.

    The same for a network parts of which are compiled or wrapped, and for one that is not.
    """
    digest = sha256()
    saved = network.state_dict()
    unsaved = {name: buffer for name, buffer in network.named_buffers() if name not in saved}  # persistent=False
    inner = wrapper_names(network)
    for name, value in (saved | unsaved).items():
        if name in but:
            continue
        digest.update(without_wrappers(name, inner).encode())
        if isinstance(value, Tensor):
            plain = dense(value).detach().cpu().contiguous().flatten()
            digest.update(plain.view(torch.uint8).numpy().tobytes())  # bytes: NumPy has no bfloat16
        else:  # what a module adds by get_extra_state
            digest.update(repr(value).encode())
    return digest.hexdigest()
