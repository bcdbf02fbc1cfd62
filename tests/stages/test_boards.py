"""TensorBoard beside the lines of JSON: the same numbers, an episode's maps, and no other run than without."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from milr.errors import MilrError
from milr.explanation.maps import Maps
from milr.figures.columns import Column
from milr.runs.folder import Run, open_run
from milr.stages.boards import FOLDER, board


def shown(run: Run) -> EventAccumulator:
    """What TensorBoard would show of the run."""
    events = EventAccumulator(str(run.folder / FOLDER))
    events.Reload()
    return events


def test_every_line_of_metrics_is_a_point_of_a_curve(tmp_path: Path) -> None:
    with open_run(tmp_path, "fit_milr", "run", {}) as run:
        with board(run, "tensorboard", done=0):
            run.metrics(split="train", step=1, loss=0.5)
            run.metrics(split="train", step=2, loss=0.25)
            run.metrics(split="validation", step=2, accuracy=0.75)
        run.metrics(split="train", step=3, loss=0.125)  # the board is closed
        curves = shown(run)
    assert curves.Tags()["scalars"] == ["loss/train", "accuracy/validation"]
    assert [(point.step, point.value) for point in curves.Scalars("loss/train")] == [(1, 0.5), (2, 0.25)]
    assert len((run.folder / "metrics.jsonl").read_text().splitlines()) == 4


def test_phases_that_count_their_steps_anew_have_curves_of_their_own(tmp_path: Path) -> None:
    with open_run(tmp_path, "fit_milr", "run", {}) as run:
        with board(run, "tensorboard", done=0):
            run.metrics(split="held_out", phase="critic", step=100, bits=1.0)
            run.metrics(split="held_out", phase="pairs", step=100, bits=0.5)
        curves = shown(run)
    assert curves.Tags()["scalars"] == ["bits/held_out_critic", "bits/held_out_pairs"]


def test_a_run_that_goes_on_shows_no_step_twice(tmp_path: Path) -> None:
    with open_run(tmp_path, "fit_milr", "run", {}) as run:
        with board(run, "tensorboard", done=0):
            for step in range(1, 6):
                run.metrics(split="train", step=step, loss=1.0)
        with board(run, "tensorboard", done=3):  # steps 4 and 5 were lost with the process
            for step in range(4, 8):
                run.metrics(split="train", step=step, loss=2.0)
        points = [(point.step, point.value) for point in shown(run).Scalars("loss/train")]
    assert points == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0), (6, 2.0), (7, 2.0)]


def test_maps_are_shown_as_a_sheet(tmp_path: Path) -> None:
    maps = Maps(*(torch.rand(2, 4, 4) for _ in range(5)), output=torch.rand(2, 8), cap=6.0)
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    with open_run(tmp_path, "fit_milr", "run", {}) as run:
        with board(run, "tensorboard", done=0) as open_board:
            assert open_board is not None
            open_board.maps(50, images, maps, [Column("support", "001.Wren"), Column("query", "001.Wren")])
        (sheet,) = shown(run).Images("maps")
    assert sheet.step == 50 and sheet.height > 300
    picture = Image.open(BytesIO(sheet.encoded_image_string))
    assert np.asarray(picture).std() > 10  # not one even colour


def test_without_the_package_the_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with (
        pytest.raises(MilrError, match=r"pip install 'milr\[tensorboard\]'"),
        open_run(tmp_path, "fit_milr", "run", {}) as run,
        board(run, "tensorboard", done=0),
    ):
        pass
