"""The device and the threads that a stage computes with."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from hydra.core.hydra_config import HydraConfig
from torch import Tensor

from milr.errors import MilrError
from milr.runs.facts import available_cores
from milr.runs.processes import launched_local_rank
from milr.sweeps.folders import in_sweep


def choose_device(device: str) -> torch.device:
    """`auto`: a GPU if there is one. Errors: MilrError if CUDA is asked for and absent.

    Under torchrun each process of a machine gets a GPU of its own; MilrError where there are too few. The jobs of a
    sweep get the GPUs in turn, by their number.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise MilrError("device=cuda: torch finds no CUDA on this machine; take device=cpu or device=auto")
    if not available or device == "cpu":
        return torch.device("cpu")
    # float32 means float32: torch alone would let convolutions use TF32, with 10 bits of the 23. Who wants speed asks
    # for it with precision=bfloat16.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    gpus = torch.cuda.device_count()
    if launched_local_rank() >= gpus:
        raise MilrError(f"torchrun started more processes than this machine has GPUs ({gpus}): --nproc-per-node={gpus}")
    number = HydraConfig.get().job.num if in_sweep() else launched_local_rank()
    chosen = torch.device("cuda", number % gpus)
    torch.cuda.set_device(chosen)  # what asks for "cuda" alone gets the same one
    return chosen


# In what torch and the system say of a device's memory, of a library's on it, and of the machine's.
NO_MEMORY = ("out of memory", "ALLOC_FAILED", "'t allocate memory", "annot allocate memory", "not enough memory")


@contextmanager
def memory_errors() -> Iterator[None]:
    """A MilrError for want of memory, of the GPU or of the machine, in place of torch's error; others as they are."""
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:  # torch's own kinds are RuntimeErrors
        text = str(error)
        of_memory = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
        if not of_memory and (isinstance(error, OSError) or not any(sign in text for sign in NO_MEMORY)):
            raise
        what = f" ({text.splitlines()[0].split('. ')[0].strip()})" if text else ""
        raise MilrError(
            f"out of memory{what}: let fewer pictures through at once (train.way, train.query; milr.way, milr.query, "
            "critic.images; episode.query), end other processes on the device, or take device=cpu"
        ) from error


def divide_threads() -> None:
    """Give this job of a sweep its share of the cores, where several run at once on this machine.

    Does nothing where OMP_NUM_THREADS says how many threads are wanted.
    """
    at_once = getattr(HydraConfig.get().launcher, "n_jobs", 1)  # joblib's; -1: one for each core
    if at_once not in (0, 1) and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads_each(at_once, available_cores()))


def threads_each(at_once: int, cores: int) -> int:
    """The threads of each of `at_once` jobs (negative: of cores + 1 + at_once, as joblib counts), at least one."""
    jobs = at_once if at_once > 0 else max(cores + 1 + at_once, 1)
    return max(cores // jobs, 1)


def dtype_of(precision: str) -> torch.dtype:
    """torch's word for float32 or bfloat16."""
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def example_images(size: int, device: torch.device) -> Tensor:
    """Two images of noise [2, 3, S, S], from which a network's layers show their order, shapes and dependence."""
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
