"""One training in several processes, each on a device of its own: what they agree on, and how they say it.

`torchrun` starts the processes and tells each its number in the environment; `process_group` joins them. Outside of a
group there is one process, and nothing here does anything. Every process computes its own episodes; their gradients
are averaged by a plain all_reduce after the backward pass, since a network this small spends little time on it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from milr.errors import MilrError

PATIENCE = timedelta(minutes=30)  # for a process that is reading pictures or validating; after that the others give up


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Joins the processes that `torchrun` started, by NCCL on GPUs and gloo on CPUs; alone, does nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    # torchrun ends the others so when one process fails: they leave as by Ctrl-C, and the run folder says so.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    on_gpu = device.type == "cuda"
    with peer_errors():
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE, device_id=device if on_gpu else None)
    yield
    # Not after an error: NCCL would wait here for processes that wait for this one.
    dist.destroy_process_group()


@contextmanager
def peer_errors() -> Iterator[None]:
    """Turns the error that a process gets when another one is gone, or too late, into MilrError."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0].partition(". ")[0]
        raise MilrError(f"another process of this training stopped or does not answer: {reason}") from error


@contextmanager
def first_before_others() -> Iterator[None]:
    """The first process does the body before the others, which then find on the disk what it made."""
    if rank() > 0:
        wait()
    yield
    if rank() == 0:
        wait()


def wait() -> None:
    """Until every process is here."""
    if world() > 1:
        with peer_errors():
            dist.barrier()


@torch.no_grad()
def copy_from_first(network: nn.Module) -> None:
    """Gives every process the first one's parameters and buffers."""
    if world() == 1:
        return
    for value in network.state_dict().values():
        sent = value.contiguous()
        with peer_errors():
            dist.broadcast(sent, 0)
        value.copy_(sent)


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Puts the mean over the processes into each of these tensors (any shapes, one float type), in one exchange."""
    if world() == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    with peer_errors():
        dist.all_reduce(flat)
    flat /= world()
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def from_first(measure: Callable[[], float], device: torch.device) -> float:
    """The first process's measurement, which the others wait for: all go on with the same number."""
    if world() == 1:
        return measure()
    value = torch.tensor(measure() if rank() == 0 else 0.0, dtype=torch.float64, device=device)
    with peer_errors():
        dist.broadcast(value, 0)
    return value.item()
