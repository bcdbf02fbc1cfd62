from __future__ import annotations

import errno

import hydra
import pytest
import torch
from omegaconf import OmegaConf

from milr.errors import MilrError
from milr.stages import devices
from milr.stages.devices import choose_device, divide_threads, memory_errors, threads_each


class Job:
    """What `HydraConfig` says within a job of a sweep."""

    def __init__(self, number: int, at_once: int | None = None) -> None:
        self.job = OmegaConf.create({"num": number})
        self.launcher = OmegaConf.create({} if at_once is None else {"n_jobs": at_once})


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """Three GPUs that are not there; the list takes those that become the current one."""
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    return current


def in_job(monkeypatch: pytest.MonkeyPatch, job: Job) -> None:
    monkeypatch.setattr(devices, "in_sweep", lambda: True)
    monkeypatch.setattr(hydra.core.hydra_config.HydraConfig, "get", staticmethod(lambda: job))


def test_jobs_get_the_gpus_in_turn(gpus: list[torch.device], monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = []
    for number in range(5):
        in_job(monkeypatch, Job(number))
        chosen.append(str(choose_device("cuda" if number % 2 else "auto")))
    assert chosen == ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]
    assert [str(device) for device in gpus] == chosen
    assert choose_device("cpu") == torch.device("cpu")


def test_a_run_of_its_own_takes_the_first_gpu(gpus: list[torch.device]) -> None:
    assert choose_device("auto") == torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("at_once", "cores", "threads"), [(1, 8, 8), (2, 8, 4), (3, 8, 2), (16, 8, 1), (-1, 8, 1), (-5, 8, 2), (-20, 8, 8)]
)
def test_the_threads_of_all_jobs_are_no_more_than_the_cores(at_once: int, cores: int, threads: int) -> None:
    assert threads_each(at_once, cores) == threads


@pytest.mark.parametrize(
    ("at_once", "wanted", "set_to"), [(2, None, [4]), (-1, None, [1]), (2, "6", []), (1, None, []), (None, None, [])]
)
def test_threads_are_divided_unless_the_user_said_how_many(
    at_once: int | None, wanted: str | None, set_to: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", found.append)
    monkeypatch.setattr(devices, "available_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if wanted:
        monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    in_job(monkeypatch, Job(0, at_once))
    divide_threads()
    assert found == set_to


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("unable to mmap 512 bytes from file </torch_1>: Cannot allocate memory (12)"),
    ],
)
def test_want_of_memory_of_any_kind_is_one_line(error: Exception) -> None:
    with pytest.raises(MilrError, match=r"^out of memory.*fewer pictures"), memory_errors():
        raise error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), RuntimeError("shapes differ"), ValueError()])
def test_other_errors_are_not_of_memory(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, memory_errors():
        raise error
    assert raised.value is error
