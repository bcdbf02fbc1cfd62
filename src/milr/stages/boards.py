"""TensorBoard beside `metrics.jsonl` (`logger=tensorboard`): the same numbers as curves, and one episode's maps.

The lines of JSON stay the truth: nothing of milr reads what is written here, and with or without it a run is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from milr.errors import MilrError
from milr.explanation.maps import Maps
from milr.figures.canvas import pixels
from milr.figures.columns import Column
from milr.figures.figures import ROWS, figure
from milr.runs.folder import Run

FOLDER = "tensorboard"  # in the run folder


class Board:
    """An event file of TensorBoard's, open. `board` makes it."""

    def __init__(self, folder: Path, done: int) -> None:
        """done: the steps of a run that goes on; what an earlier session showed of later ones is hidden."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MilrError("logger=tensorboard needs an extra package: pip install 'milr[tensorboard]'") from error
        self.writer = SummaryWriter(str(folder), purge_step=done + 1 if done else None)

    def numbers(self, values: Mapping[str, float | int | str | bool | None]) -> None:
        """One line of `metrics.jsonl` as points of curves, those of a quantity's splits, or phases, side by side."""
        curve = "_".join(str(values[key]) for key in ("split", "phase") if key in values)
        for name, value in values.items():
            if isinstance(value, float):
                self.writer.add_scalar(f"{name}/{curve}", value, values["step"])

    def maps(self, step: int, images: Tensor, maps: Maps, columns: Sequence[Column]) -> None:
        """The sheet of these images uint8 [K, 3, S, S] and their maps as they are after this step."""
        sheet = pixels(figure(ROWS, images, maps, columns, note=f"step {step}"))
        self.writer.add_image("maps", sheet, step, dataformats="HWC")


@contextmanager
def board(run: Run, logger: str, done: int) -> Iterator[Board | None]:
    """The board that gets every line of the run's metrics; None where `logger` asks for no board."""
    if logger == "none":
        yield None
        return
    shown = Board(run.path(FOLDER), done)
    run.watchers.append(shown.numbers)
    try:
        yield shown
    finally:
        run.watchers.remove(shown.numbers)
        shown.writer.close()
