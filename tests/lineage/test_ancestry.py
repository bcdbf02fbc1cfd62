from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from milr.data.catalogues import data_entry
from milr.data.records import Catalogue
from milr.data.settings import CubSettings
from milr.data.split import of_split
from milr.runs.ancestry import ancestors, data_problem
from milr.runs.manifests import read_manifest

MakeRun = Callable[..., Path]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def line(make_run: MakeRun, weights: Path) -> list[Path]:
    """A network, a fit of it, and figures of that."""
    from milr.files import sha256_of

    network = make_run("train_protonet", weights={"file": str(weights), "sha256": sha256_of(weights)})
    fitted = make_run("fit_milr", parent=network)
    return [network, fitted, make_run("visualize", parent=fitted)]


def problems(folder: Path) -> list[str | None]:
    return [ancestor.problem for ancestor in ancestors(folder, read_manifest(folder))]


def test_the_line_goes_up_to_the_first_weights(line: list[Path], weights: Path) -> None:
    network, fitted, drawn = line
    found = ancestors(drawn, read_manifest(drawn))
    assert [(ancestor.stage, ancestor.folder) for ancestor in found] == [
        ("fit_milr", fitted), ("train_protonet", network), ("weights", weights.parent)
    ]  # fmt: skip
    assert problems(drawn) == [None, None, None] and problems(network) == [None]


def test_what_changed_since_is_named(line: list[Path], weights: Path) -> None:
    network, _, drawn = line
    (network / "best.pt").write_bytes(b"another")
    weights.write_bytes(b"others")
    of_fit, of_network, of_weights = problems(drawn)
    assert of_fit is None
    assert "best.pt has changed since: sha256" in str(of_network) and "weights.pt has changed" in str(of_weights)


def test_what_is_gone_is_named(line: list[Path]) -> None:
    network, fitted, drawn = line
    (network / "best.pt").unlink()
    assert problems(drawn)[1] == "best.pt is gone"
    shutil.rmtree(fitted)
    assert problems(drawn) == ["its folder is gone"]


def test_runs_that_were_moved_together_are_found(line: list[Path], outputs: Path) -> None:
    shutil.move(outputs, outputs.parent / "moved")
    assert problems(outputs.parent / "moved" / "visualize" / "run") == [None, None, None]


def test_runs_that_name_each_other_end(line: list[Path]) -> None:
    import json

    network, fitted, _ = line
    manifest = read_manifest(network)
    manifest["parent"] = {**read_manifest(fitted)["parent"], "folder": str(fitted), "stage": "fit_milr"}
    (network / "manifest.json").write_text(json.dumps(manifest))
    assert "name each other" in str(problems(fitted)[-1])


def test_the_data_are_compared_by_their_fingerprint(birds: Catalogue, tmp_path: Path) -> None:
    root = Path(shutil.copytree(birds.root, tmp_path / "birds"))
    (root / "synthetic.json").unlink()
    from milr.data.cub import read_cub

    settings = CubSettings(name="cub", root=str(root), crop="none", size=32, split="novel")
    config = {"dataset": asdict(settings)}
    manifest = {"data": data_entry(settings, read_cub(root)), "split": {"train": [], "novel": []}}
    assert data_problem(manifest, config) is None
    looked_at = {**manifest, "split": {"novel": [*of_split(read_cub(root), "novel").class_names.values()]}}
    assert "changed since" in str(data_problem(looked_at, config))  # its fingerprint would be of that split alone
    assert data_problem({**manifest, "split": {"novel": ["images/a/b.png"]}}, config) is None  # a part of each class
    picture = next(root.glob("images/*/*.png"))
    picture.write_bytes(picture.read_bytes() + b"x")
    assert "changed since" in str(data_problem(manifest, config))
    table = tmp_path / "targets.csv"
    table.write_text("image,answer\n")
    manifest["data"] = data_entry(settings, read_cub(root), table)
    assert data_problem(manifest, config) is None
    table.write_text("image,another\n")
    assert "changed since" in str(data_problem(manifest, config))
    table.unlink()
    assert "targets.csv" in str(data_problem(manifest, config))
    shutil.rmtree(root)
    assert data_problem(manifest, config) == "it is gone"
    assert data_problem({}, config) is None
