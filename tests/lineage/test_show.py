from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from milr.errors import MilrError
from milr.lineage.show import show_run, size_of

MakeRun = Callable[..., Path]


def test_a_run_is_shown_from_its_settings_to_its_files(make_run: MakeRun, outputs: Path) -> None:
    network = make_run("train_protonet", "network", settings={"seed": 5})
    result = {"validation": {"objective": 2.0, "accuracy": 0.5, "untouched_accuracy": 0.75}}
    make_run("fit_milr", "fitted", parent=network, result=result, settings={"milr.beta": 0.5})
    text = show_run(outputs, "fit-milr")
    assert "  milr.beta  0.5\n" in text and "seed" not in text and "validation.accuracy            0.5" in text
    assert f"train-protonet  {network / 'best.pt'}\n    unchanged" in text and "best.pt" in text.split("files:")[1]

    (network / "best.pt").write_bytes(b"another")
    assert "! best.pt has changed since: sha256" in show_run(outputs, "fitted")
    story = json.loads(show_run(outputs, "fitted", as_json=True))
    assert story["differences"] == {"milr.beta": 0.5} and story["result"] == result
    assert "changed" in story["parents"][0]["problem"]
    assert story["files"]["best.pt"] == (outputs / "fit_milr" / "fitted" / "best.pt").stat().st_size


def test_a_run_without_its_settings_is_shown_all_the_same(make_run: MakeRun, outputs: Path) -> None:
    (make_run("train_protonet", "network") / "config.yaml").unlink()
    assert "config.yaml cannot be read" in show_run(outputs, "network")


def test_a_broken_run_is_refused_by_name(make_run: MakeRun, outputs: Path) -> None:
    (make_run("train_protonet", "network") / "manifest.json").write_text("{")
    with pytest.raises(MilrError, match="network/manifest.json cannot be read"):
        show_run(outputs, "network")


def test_sizes_read_well() -> None:
    assert [size_of(count) for count in (0, 999, 1500, 2_000_000, 3 * 10**9)] == [
        "0 B", "999 B", "1.5 kB", "2.0 MB", "3.0 GB"
    ]  # fmt: skip
