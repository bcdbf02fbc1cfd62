"""A small training that two processes do together, and one that breaks off: what they end with goes to files."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

import torch
from forked import begin, finish
from torch import Tensor, nn

from milr.data.pictures import Pictures
from milr.data.records import Record
from milr.networks.settings import MetricSettings
from milr.training.distributed import average, first_before_others, process_group, rank
from milr.training.episodes import EpisodicTask
from milr.training.settings import Training
from milr.training.training import Step, train_prototypical

CPU = torch.device("cpu")
FROZEN = Training(
    episodes=8, way=3, shot=1, query=2, optimizer="sgd", learning_rate=0.1, batch_norm="eval", validate_every=2
)  # statistics
MOVING = replace(FROZEN, batch_norm="train")


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 8))


def pictures() -> Pictures:
    """5 classes of 6 pictures of noise, 10 px."""
    images = torch.randint(0, 256, (30, 3, 10, 10), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = torch.arange(5).repeat_interleave(6)
    return Pictures(images, labels, tuple(Record(i, Path(f"{i}.png"), int(k), str(k)) for i, k in enumerate(labels)))


def train(training: Training, seed: int = 0, breaks_in: int = -1) -> dict[str, Tensor]:
    """The weights after the last step, since every validation finds more than the one before; the losses; the accuracy.

    breaks_in: the process that breaks off at its second step.
    """
    model, losses, accuracies = network(seed), [], iter(range(100))

    def note(step: Step) -> None:
        losses.append(step.loss)
        if rank() == breaks_in and step.number == 2:
            raise ZeroDivisionError("only here")

    task = EpisodicTask(pictures(), MetricSettings())
    trained = train_prototypical(model, task, training, lambda _: next(accuracies) / 100, note)
    return {**trained.weights, "losses": torch.stack(losses), "accuracy": torch.tensor(trained.accuracy)}


def goes_well(folder: Path) -> None:
    with process_group(CPU):
        with first_before_others():
            (folder / f"turn{rank()}").write_text(" ".join(sorted(path.name for path in folder.glob("turn*"))))
        values = [torch.tensor([1.0 + rank(), 5.0]), torch.full((2, 1), 4.0 * rank())]
        average(values)
        # First weights of its own for each process: the first one's must be taken by all.
        states = {"average": values, "frozen": train(FROZEN, rank()), "moving": train(MOVING, rank())}
        torch.save(states, folder / f"{rank()}.pt")


def breaks(folder: Path) -> None:
    try:
        with process_group(CPU):
            train(FROZEN, breaks_in=1)
    except Exception as error:
        (folder / f"error{os.environ['RANK']}").write_text(f"{type(error).__name__}: {error}")


def one_of_two(number: int, port: int, work: Callable[[Path], None], folder: Path) -> None:
    """A process as torchrun would start it; what it complains of goes to a file."""
    told = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in told.items()})
    torch.set_num_threads(1)
    with (folder / f"{work.__name__}{number}.err").open("w") as complaints:
        os.dup2(complaints.fileno(), 2)
        with redirect_stderr(complaints):
            work(folder)


def run_both(folder: Path) -> None:
    """All that the two processes do."""
    for work in (goes_well, breaks):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        both = [begin(one_of_two, number, port, work, folder) for number in (0, 1)]
        assert [finish(process) for process in both] == [0, 0]
    assert {path.read_text() for path in folder.glob("*.err")} == {""}
