from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small import change, manifest, run_of

from milr import cli
from milr.lineage.rerun import comparison, git_warnings, metrics_of
from milr.runs.find import find_runs, read_run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def copy(pipeline: Path, tmp_path: Path) -> Path:
    """The same runs, to be repeated or spoiled; their parents lie here too."""
    outputs = Path(shutil.copytree(pipeline, tmp_path / "outputs"))
    for path in outputs.glob("*/*/*"):
        if path.suffix in (".json", ".yaml"):
            path.write_text(path.read_text().replace(str(pipeline), str(outputs)))
    return outputs


@pytest.mark.parametrize("stage", ["train_protonet", "fit_milr"])
def test_a_run_is_repeated_to_the_bit(copy: Path, stage: str, capsys: Capture) -> None:
    old = run_of(copy, stage)
    assert cli.main(["rerun", str(old)]) == 0
    new = next(folder for folder in (copy / stage).iterdir() if folder != old)
    one, other = manifest(old), manifest(new)
    assert other["repeats"] == str(old) and other["state"] == "finished"
    for key in ("checkpoint", "result", "parent", "data", "split", "seed"):
        assert one[key] == other[key], key
    assert one["result"].get("step") != 0  # what was kept was trained
    assert (old / "metrics.jsonl").read_bytes() == (new / "metrics.jsonl").read_bytes()
    assert (old / "config.yaml").read_text() == (new / "config.yaml").read_text()
    told = capsys.readouterr().out
    assert "warning" not in told and told.count(": the same") == 3


def test_a_run_that_comes_out_otherwise_has_an_exit_code(copy: Path, capsys: Capture) -> None:
    old = run_of(copy, "fit_milr")
    change(old, result={"step": 0})
    assert cli.main(["rerun", str(old)]) == 1
    told = capsys.readouterr().out
    assert "result: DIFFERS" in told and "checkpoint: the same" in told


def test_a_comparison_tells_what_differs(copy: Path) -> None:
    old = read_run(run_of(copy, "fit_milr"))
    new = Path(shutil.copytree(old.folder, copy / "fit_milr" / "other"))
    change(new, checkpoint={"file": "milr.pt", "sha256": "0" * 64})
    lines = comparison(old, read_run(new))
    assert [line.split(": ")[1] for line in lines[1:]] == ["the same", "DIFFERS", "the same"]


def test_a_changed_parent_is_refused_and_no_run_begins(copy: Path, capsys: Capture) -> None:
    network = run_of(copy, "train_protonet") / "best.pt"
    network.write_bytes(network.read_bytes() + b"x")
    assert cli.main(["rerun", "fit-milr", f"outputs={copy}"]) == 2
    told = capsys.readouterr().err
    assert "cannot be repeated" in told and "best.pt has changed since" in told
    assert len(find_runs(copy)) == 4


def test_a_parent_trained_anew_in_its_place_is_refused(copy: Path, capsys: Capture) -> None:
    from milr.files import sha256_of

    folder = run_of(copy, "train_protonet")
    (folder / "best.pt").write_bytes(b"another network")
    change(folder, checkpoint={"file": "best.pt", "sha256": sha256_of(folder / "best.pt")})  # its own manifest agrees
    assert cli.main(["rerun", "fit-milr", f"outputs={copy}"]) == 2
    assert "has changed since" in capsys.readouterr().err


def test_what_may_come_out_otherwise_is_named(copy: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_of(copy, "train_protonet")
    before = manifest(folder)
    change(
        folder,
        versions={**before["versions"], "torch": "1.0"},
        host={**before["host"], "threads": 77, "instructions": "none"},
        git={"commit": "0" * 40, "dirty": False, "changes_sha256": None},
        data={**before["data"], "fingerprint": "0" * 64},
    )
    from milr.lineage.rerun import warnings_of
    from milr.runs.manifests import read_config

    warnings = "\n".join(warnings_of(read_run(folder), read_config(folder)))
    for words in ("torch was 1.0", "threads was 77", "instructions was none", "it has changed since: fingerprint"):
        assert words in warnings
    assert "commit" in warnings


def test_the_code_of_then_and_of_now() -> None:
    clean = {"commit": "a" * 40, "dirty": False, "changes_sha256": None}
    dirty = {**clean, "dirty": True, "changes_sha256": "1"}
    assert git_warnings(clean, clean) == git_warnings(dirty, dirty) == git_warnings(None, None) == []
    assert "was aaaaaaaaaaaa, now bbbbbbbbbbbb" in git_warnings(clean, {**clean, "commit": "b" * 40})[0]
    assert "other changes" in git_warnings(clean, dirty)[0]
    assert "other changes" in git_warnings({"commit": "a" * 40, "dirty": True}, dirty)[0]  # of an older version
    assert "not known" in git_warnings(None, clean)[0]


def test_times_are_not_compared(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5, "step_seconds": 0.1}\n')
    assert metrics_of(tmp_path) == [{"step": 1, "loss": 0.5}]
