"""Two processes over gloo on this machine: one training, the same network in both, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from parallel_training import CPU, FROZEN, run_both, train

from milr.training.distributed import average, first_before_others, from_first, process_group, rank, world


@pytest.fixture(scope="module")
def ended(made_once: Callable[..., Path]) -> tuple[Path, list[dict[str, Any]]]:
    """The folder that both processes wrote to, and what each of them ended with."""
    folder = made_once("two", run_both)
    return folder, [torch.load(folder / f"{number}.pt") for number in (0, 1)]


def test_the_mean_over_processes_is_in_every_tensor(ended: tuple[Path, list[dict[str, Any]]]) -> None:
    for state in ended[1]:
        vector, column = state["average"]
        assert vector.tolist() == [1.5, 5.0] and column.tolist() == [[2.0], [2.0]]


def test_the_first_goes_before_the_other(ended: tuple[Path, list[dict[str, Any]]]) -> None:
    assert (ended[0] / "turn0").read_text() == "" and (ended[0] / "turn1").read_text() == "turn0"


@pytest.mark.parametrize("training", ["frozen", "moving"])
def test_both_end_with_the_same_network(ended: tuple[Path, list[dict[str, Any]]], training: str) -> None:
    one, other = (state[training] for state in ended[1])
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert one["accuracy"] == pytest.approx(0.02)  # the third validation of the first process: steps 0, 2, 4


def test_the_statistics_of_both_processes_are_kept(ended: tuple[Path, list[dict[str, Any]]]) -> None:
    state = ended[1][0]
    assert torch.equal(state["frozen"]["1.running_mean"], torch.zeros(6))
    alone = train(replace(FROZEN, batch_norm="train", episodes=4))  # the episodes of neither process
    assert not torch.allclose(state["moving"]["1.running_mean"], alone["1.running_mean"], atol=1e-3)


def test_a_step_of_two_processes_is_one_step_over_both_episodes(ended: tuple[Path, list[dict[str, Any]]]) -> None:
    alone, together = train(replace(FROZEN, episodes_per_step=2)), ended[1][0]["frozen"]
    assert len(alone["losses"]) == 4
    for name in alone:
        assert torch.allclose(alone[name].float(), together[name].float(), atol=1e-6), name
    other = train(replace(FROZEN, episodes_per_step=2, seed=1))
    assert not torch.allclose(other["4.weight"], together["4.weight"], atol=1e-3)


def test_when_one_process_fails_the_other_does_not_wait(ended: tuple[Path, list[dict[str, Any]]]) -> None:
    told, cause = ((ended[0] / f"error{number}").read_text() for number in (0, 1))
    assert cause == "ZeroDivisionError: only here"
    assert told.startswith("MilrError: another process of this training stopped or does not answer")


def test_one_process_alone_needs_no_group() -> None:
    with process_group(CPU), first_before_others():
        assert (rank(), world()) == (0, 1)
    value = torch.tensor([3.0])
    average([value])
    assert value.item() == 3 and from_first(lambda: 0.3, CPU) == 0.3
