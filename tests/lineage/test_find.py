from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from disks import open_folder, unprivileged
from forked import begin, finish
from small import change

from milr.cli import main
from milr.errors import MilrError
from milr.runs.find import find_runs, named_run, read_run
from milr.runs.folder import MANIFEST, open_run
from milr.runs.locks import is_locked, lock
from milr.runs.resume import reopen_run

MakeRun = Callable[..., Path]


def test_runs_are_found_in_sweeps_too_the_oldest_first(make_run: MakeRun, outputs: Path) -> None:
    change(make_run("fit_milr", "late"), created="2026-01-02T00:00:00+00:00")
    change(make_run("train_protonet", "early"), created="2026-01-01T12:00:00+02:00")
    with open_run(outputs / "fit_milr_sweeps" / "sweep", "fit_milr", "milr.beta=1", {}) as run:
        (run.path("inside/manifest.json")).write_text("{}")  # of no run of its own
    for beside in ("report", "set_aside/milr.beta=1-1", ".submitit"):
        (run.folder.parent / beside).mkdir(parents=True)
    assert [run.folder.name for run in find_runs(outputs)] == ["early", "late", "milr.beta=1"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stage": "fit_milr"', "\x00"])
def test_a_broken_manifest_breaks_its_run_alone(make_run: MakeRun, outputs: Path, text: str) -> None:
    make_run("train_protonet")
    (make_run("fit_milr") / MANIFEST).write_text(text)
    broken, whole = find_runs(outputs)
    assert (broken.state, broken.stage, whole.state) == ("broken", "fit_milr", "finished")
    assert MANIFEST in str(broken.problem)


def test_a_manifest_that_is_gone_or_no_text(make_run: MakeRun, outputs: Path) -> None:
    folder = make_run("train_protonet")
    (folder / MANIFEST).write_bytes(b"\xff\xfe\x00")
    assert [run.state for run in find_runs(outputs)] == ["broken"]
    (folder / MANIFEST).unlink()
    assert [run.state for run in find_runs(outputs)] == ["broken"]


def die(outputs: Path) -> None:
    with open_run(outputs / "fit_milr", "fit_milr", "killed", {}):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_run_whose_process_was_killed_is_stopped(outputs: Path) -> None:
    assert finish(begin(die, outputs)) == -signal.SIGKILL
    run = read_run(outputs / "fit_milr" / "killed")
    assert (run.manifest["state"], run.state) == ("running", "stopped")
    with pytest.raises(KeyboardInterrupt), reopen_run(run.folder):
        assert read_run(run.folder).state == "running"
        raise KeyboardInterrupt
    assert read_run(run.folder).state == "interrupted"


def test_a_run_that_ends_while_it_is_read_is_not_told_as_stopped(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on = open_run(outputs / "fit_milr", "fit_milr", "run", {})
    folder = going_on.__enter__().folder

    def ask(path: Path) -> bool:
        locked = is_locked(path)
        going_on.__exit__(None, None, None)
        return locked

    monkeypatch.setattr("milr.runs.find.is_locked", ask)
    assert read_run(folder).state == "finished"


def test_two_who_ask_at_once_see_no_lock(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    file = tmp_path / "log.txt"
    file.touch()
    with file.open("rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert not is_locked(file)
        assert not is_locked(tmp_path / "absent")
    with file.open("a") as held:
        assert lock(held) and is_locked(file)
    assert not is_locked(file)


def test_a_run_is_named_by_folder_stage_or_name(make_run: MakeRun, outputs: Path) -> None:
    first, other = make_run("train_protonet", "a"), make_run("train_protonet", "b")
    change(first, finished="2999-01-01T00:00:00+00:00")
    fitted = make_run("fit_milr", "c", parent=other)
    assert named_run(outputs, str(other)).folder == other
    assert named_run(outputs, "train-protonet").folder == named_run(outputs, "latest").folder == first
    assert named_run(outputs, "c").folder == named_run(outputs, "fit_milr/c").folder == fitted


def test_a_name_that_does_not_exist_gets_the_nearest(make_run: MakeRun, outputs: Path) -> None:
    make_run("train_protonet", "2026-01-01_10-00-00")
    with pytest.raises(MilrError, match="did you mean 'train_protonet/2026-01-01_10-00-00'"):
        named_run(outputs, "2026-01-01_10-00-0")
    with pytest.raises(MilrError, match="did you mean 'fit-milr'"):
        named_run(outputs, "fit-mlir")
    with pytest.raises(MilrError, match="no finished run of fit-milr"):
        named_run(outputs, "fit-milr")
    make_run("fit_milr", "2026-01-01_10-00-00")
    with pytest.raises(MilrError, match="fits several runs"):
        named_run(outputs, "2026-01-01_10-00-00")
    with pytest.raises(MilrError, match="there is no folder"):
        named_run(outputs / "absent", "latest")


def finished(outputs: Path, stage: str, name: str) -> Path:
    with open_run(outputs / stage, stage, name, {}) as run:
        pass
    return run.folder


@pytest.mark.parametrize("place", [".", "fit_milr", "fit_milr_sweeps", "fit_milr_sweeps/sweep"])
def test_a_folder_of_runs_that_may_not_be_read_is_no_empty_one(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_folder() as folder:
        finished(folder, "train_protonet", "a")
        finished(folder, "fit_milr", "b")
        finished(folder / "fit_milr_sweeps", "sweep", "c")
        assert main(["runs", f"outputs={folder}"]) == 0
        assert capsys.readouterr().out.count("finished") == 3
        (folder / place).chmod(0)
        with unprivileged():
            for words in (["runs"], ["runs", "--json"], ["show", "latest"]):
                assert main([*words, f"outputs={folder}"]) == 2
                captured = capsys.readouterr()
                assert captured.out == ""
                assert captured.err.startswith(f"error: the folder {folder / place} cannot be read: Permission denied")
        folder.chmod(0o777)


@pytest.mark.parametrize("file", [".", MANIFEST])
def test_the_latest_run_is_not_another_because_one_may_not_be_read(file: str) -> None:
    with open_folder() as folder:
        finished(folder, "train_protonet", "old")
        new = finished(folder, "train_protonet", "new")
        finished(folder, "fit_milr", "fit")
        change(new, finished="2999-01-01T00:00:00+00:00")
        assert named_run(folder, "train-protonet").folder == new
        (new / file).chmod(0)
        with unprivileged():
            assert [run.state for run in find_runs(folder)].count("broken") == 1
            for word in ("train-protonet", "latest"):
                with pytest.raises(MilrError, match=f"{new}/{MANIFEST} cannot be read: Permission denied"):
                    named_run(folder, word)
            assert named_run(folder, "fit-milr").state == "finished"
            assert named_run(folder, "old").folder.name == "old"
        new.chmod(0o755)


@pytest.mark.slow
def test_a_source_that_may_not_be_read_is_named_by_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with open_folder() as folder:
        run = finished(folder, "fit_milr", "fit")
        main(["visualize", f"source={run}"])  # loads what a user without rights may not load
        capsys.readouterr()
        run.chmod(0)
        with unprivileged():
            for stage in ("visualize", "test-protonet", "fit-milr", "evaluate", "sanity"):
                assert main([stage, f"source={run}", f"outputs={folder}"]) == 2
                captured = capsys.readouterr()
                assert captured.out == "" and captured.err.count("\n") == 1
                assert str(run) in captured.err and "Permission denied" in captured.err
        run.chmod(0o755)


def test_a_fit_of_a_sweep_that_may_not_be_read_is_not_left_out_of_its_report(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open_folder() as folder:
        sweep = folder / "fit_milr_sweeps" / "sweep"
        for name in ("a", "b"):
            finished(folder / "fit_milr_sweeps", "sweep", name)
        main(["sweep-report", str(sweep)])  # loads what a user without rights may not load
        capsys.readouterr()
        (sweep / "b").chmod(0)
        with unprivileged():
            assert main(["sweep-report", str(sweep)]) == 2
        assert f"error: the folder {sweep / 'b'} cannot be read: Permission denied" in capsys.readouterr().err
        (sweep / "b").chmod(0o755)
