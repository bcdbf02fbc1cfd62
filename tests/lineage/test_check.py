from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from milr import cli
from milr.data.catalogues import few
from milr.data.records import Catalogue

Capture = pytest.CaptureFixture[str]

TRAIN = ["train-protonet", "dataset.size=32", "dataset.species=12", "dataset.images_per_species=8"]
TRAIN += ["dataset.picture_size=64", "device=cpu", "episode.way=3", "episode.query=2"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder for the call, and one for what is thrown away."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path


def lines_of(capsys: Capture) -> dict[str, str]:
    """name -> what was said, of each check."""
    told = capsys.readouterr()
    assert told.err == ""
    return {line[:8].strip(): line[8:].strip() for line in told.out.splitlines() if line[8:10] == "  "}


def test_a_stage_that_can_run(birds: Catalogue, elsewhere: Path, capsys: Capture) -> None:
    assert cli.main(["check", *TRAIN, f"dataset.root={birds.root}"]) == 0
    lines = lines_of(capsys)
    assert list(lines) == ["settings", "data", "split", "device", "disk", "one step"]
    assert all(line.startswith("ok: ") for line in lines.values())
    assert "96 pictures of 12 classes" in lines["data"] and "train 6 classes" in lines["split"]
    assert os.listdir(elsewhere) == ["temporary"] and not list((elsewhere / "temporary").glob("milr*"))


def test_what_is_wrong_is_told_line_by_line(birds: Catalogue, elsewhere: Path, capsys: Capture) -> None:
    root = Path(shutil.copytree(birds.root, elsewhere / "birds"))
    next(root.glob("images/001.*/*_0001.png")).write_bytes(b"no picture")
    (elsewhere / "file").write_text("")
    words = ["episode.shot=20", "outputs=file/outputs", "train.freeze=[layer9]"]
    assert cli.main(["check", *TRAIN, f"dataset.root={root}", *words]) == 2
    lines = lines_of(capsys)
    assert "cannot be read as a picture" in lines["data"]
    assert "3 classes with 22 pictures, and there are 0" in lines["split"]
    assert "cannot write in" in lines["disk"] and lines["device"].startswith("ok")
    assert lines["one step"].startswith("PROBLEM")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train-protonet", "train.episode=3"], "did you mean 'train.episodes'"),
        (["train-protonet", "device=gpu"], "choose one of auto, cpu, cuda"),
        (["train-protonett"], "did you mean 'train-protonet'"),
        (["fit-milr", "source=/nowhere"], "no folder /nowhere"),
        (["train-protonet", "-m", "seed=1,2"], "leave --multirun out"),
        (["data"], "is a check itself"),
        ([], "name the stage"),
    ],
)
def test_words_that_no_stage_takes(words: list[str], message: str, capsys: Capture) -> None:
    assert cli.main(["check", *words]) == 2
    told = capsys.readouterr()
    assert message in told.err and told.err.count("\n") == 1 and told.out == ""


def test_a_fit_and_its_source(pipeline: Path, elsewhere: Path, capsys: Capture) -> None:
    before = sorted(pipeline.rglob("*"))
    words = [f"outputs={pipeline}", "source=latest", "infomax.bank_images=64"]
    assert cli.main(["check", "fit-milr", *words]) == 0
    lines = lines_of(capsys)
    assert lines["source"].startswith("ok: ") and "fit-milr on 3 classes" in lines["one step"]
    assert cli.main(["check", "fit-milr", *words, "layers.local=layer11"]) == 2
    assert "no layer 'layer11'" in lines_of(capsys)["one step"]
    assert sorted(pipeline.rglob("*")) == before


def test_a_spoiled_parent_is_found_before_the_hours(pipeline: Path, elsewhere: Path, capsys: Capture) -> None:
    outputs = Path(shutil.copytree(pipeline, elsewhere / "outputs"))
    (fitted,) = (outputs / "fit_milr").iterdir()
    path = fitted / "manifest.json"
    path.write_text(path.read_text().replace(str(pipeline), str(outputs)))
    (network,) = outputs.glob("train_protonet/*/best.pt")
    network.write_bytes(network.read_bytes() + b"x")
    assert cli.main(["check", "visualize", f"source={fitted}"]) == 2
    assert "best.pt has changed since" in lines_of(capsys)["source"]


def test_a_few_classes_of_each_split_with_enough_pictures(birds: Catalogue) -> None:
    kept = few(birds, classes=2, pictures=5)
    assert list(kept.class_names) == [1, 2, 3, 4, 6, 8]  # train 1 and 3, validation 2 and 6, novel 4 and 8
    assert len(kept.records) == 6 * 5
    assert few(birds, classes=2, pictures=9).records == ()
