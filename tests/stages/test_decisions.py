"""Each kind of decision through the command line: fitted, measured, drawn and refitted."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from small import FIT, Capture, call, error, manifest

from milr.data.records import Catalogue
from milr.figures.columns import Column
from milr.runs.folder import Run
from milr.settings.stages import SANITY_SHEETS

SHORT = [*FIT, "decision.images=12", "critic.views=1"]
LOOK = ["evaluate.episodes=2", "evaluate.percent=[20,60]", "evaluate.pixel_percent=[]"]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> list[list[Column]]:
    """Charts and figures take longer than all the rest: what would stand over the pictures."""
    columns: list[list[Column]] = []

    def export(folder: Path, images: Any, maps: Any, given: list[Column], *rest: Any) -> dict[str, Any]:
        columns.append(given)
        folder.mkdir()
        (folder / "sheet.png").write_bytes(b"drawn")
        return {"sheet.png": {}}

    monkeypatch.setattr("milr.stages.visualize.export", export)
    monkeypatch.setattr("milr.stages.evaluate.draw", lambda *words: None)
    sheets = ("sheet_first.png", "sheet_worst.png")
    monkeypatch.setattr("milr.stages.evaluate.draw_sheets", lambda run, *rest: leave(run, *sheets))
    galleries = [name.format(format="png") for name in SANITY_SHEETS]
    monkeypatch.setattr("milr.stages.sanity.draw_galleries", lambda run, *rest: leave(run, *galleries))
    return columns


def leave(run: Run, *names: str) -> None:
    for name in names:
        run.path(name).write_bytes(b"drawn")


def newest(outputs: Path, stage: str) -> Path:
    return max((outputs / stage).iterdir(), key=lambda run: run.stat().st_mtime)


def results(run: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (run / "results.csv").open() as file:
        return {(row["map"], row["metric"]): row for row in csv.DictReader(file)}


def test_a_linear_head_on_the_training_classes_is_fitted_measured_and_refitted(
    copy: Path, undrawn: list[list[Column]], capsys: Capture
) -> None:
    assert call(copy, "fit-milr", "source=latest", "decision=classes", "decision.head=linear", *SHORT) == 0
    run = newest(copy, "fit_milr")
    story = manifest(run)
    parts = {name: set(files) for name, files in story["split"].items()}  # type: ignore[attr-defined]
    assert not parts["train"] & parts["validation"] and not parts["train"] & parts["novel"]
    folders = {name: {Path(file).parent for file in files} for name, files in parts.items()}
    assert folders["train"] == folders["validation"] == folders["novel"] and len(folders["train"]) == 6  # odd ids of 12
    assert torch.load(run / "milr.pt", weights_only=True)["head"]["weight"].shape[0] == 6
    assert story["result"]["validation"]["untouched_accuracy"] > 1 / 6  # type: ignore[index,call-overload]

    assert call(copy, "evaluate", f"source={run}", "evaluate.baselines=[grad_cam]", *LOOK) == 0
    looked = newest(copy, "evaluate")
    row = results(looked)["decision", "untouched, accuracy"]
    assert int(row["n"]) == len(parts["novel"]) and float(row["chance"]) == pytest.approx(1 / 6)
    with (looked / "per_image.csv").open() as file:
        seen = {Path(row["file"]).name for row in csv.DictReader(file)}
    assert seen == {Path(name).name for name in parts["novel"]}  # none twice, and none that was fitted to

    assert call(copy, "evaluate", f"source={run}", "dataset.classes=3", *LOOK) == 2
    assert "among 6 classes" in error(capsys)
    assert call(copy, "visualize", f"source={run}") == 0
    (columns,) = undrawn
    assert len(columns) == 6 and {column.role for column in columns} == {"image"}
    assert {column.predicted for column in columns} <= {folder.name for folder in folders["novel"]}
    checks = ["sanity.checks=[labels,mask_only,judge,fill]", "sanity.images=6", "sanity.critic_steps=1"]
    short = ["sanity.judge_steps=1", "sanity.episodes=1", "sanity.percent=[20,60]", "sanity.baselines=[saliency]"]
    assert call(copy, "sanity", f"source={run}", *checks, *short) == 0
    table = (newest(copy, "sanity") / "sanity.csv").read_text()
    assert "targets permuted" in table and "mask_only,as it is,saliency" in table and "judge,judge,saliency" in table


def test_pairs_of_classes_are_measured_by_recall_on_novel_ones(copy: Path, capsys: Capture) -> None:
    assert call(copy, "fit-milr", "source=latest", "decision=pairs", "decision.each=3", *SHORT) == 0
    run = newest(copy, "fit_milr")
    assert call(copy, "evaluate", f"source={run}", "evaluate.baselines=[grad_cam]", *LOOK) == 0
    row = results(newest(copy, "evaluate"))["decision", "keep 20%, accuracy"]
    assert int(row["n"]) == 2 * 9 and float(row["chance"]) == pytest.approx(2 / 8)  # three novel classes, three each
    assert "Recall@1" in capsys.readouterr().out
    assert call(copy, "sanity", f"source={run}", "sanity.checks=[mask_only]") == 2
    assert "mask_only asks which class a mask tells, and decision=pairs is about none" in error(capsys)


def test_numbers_come_from_a_table(copy: Path, birds: Catalogue, tmp_path: Path, capsys: Capture) -> None:
    table = tmp_path / "table.csv"
    lines = [
        f"{record.path.relative_to(birds.root)},{record.class_id % 3},{record.class_id}" for record in birds.records
    ]
    table.write_text("image,number,id\n" + "\n".join(lines) + "\n", encoding="utf-8")
    words = ["decision=regression", "decision.head=linear", "decision.classes=all", f"decision.table={table}"]
    assert call(copy, "fit-milr", "source=latest", *words, "decision=labels", *SHORT) == 2
    assert "table.csv has other values than 0 and 1" in error(capsys)
    assert call(copy, "fit-milr", "source=latest", *words, *SHORT) == 0
    run = newest(copy, "fit_milr")
    assert torch.load(run / "milr.pt", weights_only=True)["head"]["weight"].shape[0] == 2
    assert manifest(run)["data"]["table"] == str(table)
    assert call(copy, "evaluate", f"source={run}", "evaluate.baselines=[grad_cam,iba]", *LOOK) == 0
    told = capsys.readouterr()
    assert "skipped, for classes alone: iba" in told.out + told.err
    assert float(results(newest(copy, "evaluate"))["random", "untouched, accuracy"]["value"]) <= 1


def test_pairs_come_from_a_table_and_what_is_wrong_is_said(
    copy: Path, undrawn: list[list[Column]], birds: Catalogue, tmp_path: Path, capsys: Capture
) -> None:
    names = [str(record.path.relative_to(birds.root)) for record in birds.records]
    ids = [record.class_id for record in birds.records]
    last = len(names) - 1
    rows = [f"{names[i]},{names[i + 1]},{int(ids[i] == ids[i + 1])}" for i in range(last)]
    path = tmp_path / "pairs.csv"
    path.write_text("image,image,same\n" + "\n".join(rows) + "\n", encoding="utf-8")
    words = ["fit-milr", "source=latest", "decision=pairs", f"decision.table={path}", *SHORT]
    assert call(copy, *words) == 2  # negatives are of the class after it, which is of another split
    assert "names no picture of this split with another one of it that is the same" in error(capsys)
    rows += [f"{names[i]},{names[(i + 32) % (last + 1)]},0" for i in range(last + 1)]  # four classes of eight on
    path.write_text("image,image,same\n" + "\n".join(rows) + "\n", encoding="utf-8")
    assert call(copy, *words) == 0
    assert call(copy, "visualize", f"source={newest(copy, 'fit_milr')}") == 0
    (columns,) = undrawn
    assert {re.sub(r"\d+", "#", column.role) for column in columns} <= {
        "image",  # not asked about
        "#: nearest is #",
    }
    assert {column.right for column in columns} <= {True, False, None} and any(c.right is not None for c in columns)
    capsys.readouterr()
    for wrong, message in (
        (["decision=classes"], "decision.head=own: the network gives 512 numbers, and there are 6 classes"),
        (["decision=labels", "decision.head=linear"], "targets.csv, or decision.table="),
        (["decision=pairs", "decision.each=9"], "pairs need 2 classes with decision.each=9 pictures"),
        (["decision=pairs", "decision.table=nowhere.csv"], "there is no such file"),
    ):
        assert call(copy, "fit-milr", "source=latest", *wrong, *SHORT) == 2
        assert message in error(capsys)
