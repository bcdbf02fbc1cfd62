"""Going on in a run folder: which, with what settings, and never in one that is finished or going on elsewhere."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from forked import CONTEXT, begin, finish, load
from pretend import pretend
from small import manifest

from milr import cli
from milr.errors import MilrError
from milr.runs.find import read_run
from milr.runs.folder import MARKER, Run, open_run
from milr.runs.locks import is_locked
from milr.runs.manifests import is_done
from milr.runs.resume import reopen_run, require_same, require_same_parent, run_to_resume
from milr.runs.sources import find_source
from milr.runs.states import saved_states
from milr.settings.schema import TrainProtonet

Capture = pytest.CaptureFixture[str]
MakeRun = Callable[..., Path]

WORDS = ["train.episodes=6", "train.save_every=2", "train.log_every=1", "dataset.root=birds"]
seen: list[TrainProtonet] = []


def train(settings: TrainProtonet, run: Run) -> float:
    """Counts to train.episodes; the first time it is stopped at 5."""
    seen.append(settings)
    run.promise("best.pt")
    with saved_states(run, settings.train.save_every) as continuation:
        for step in range(continuation.done + 1, settings.train.episodes + 1):
            run.metrics(step=step)
            if step == 5 and not continuation.done:
                raise ZeroDivisionError("the power went out")
            continuation.on_state(step, lambda step=step: {"step": step})  # type: ignore[misc]
    run.path("best.pt").write_text("weights")
    return float(continuation.done)


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Path:
    """A run that was stopped in its fifth step."""
    monkeypatch.chdir(tmp_path)
    pretend(monkeypatch, train_protonet=train)
    assert cli.main(["train-protonet", *WORDS]) == 1
    capsys.readouterr()
    seen.clear()
    (folder,) = (tmp_path / "outputs" / "train_protonet").iterdir()
    return folder


@pytest.mark.parametrize("which", ["latest", "the folder"])
@pytest.mark.parametrize("more", [[], WORDS, ["device=cpu", "train.log_every=3"]])
def test_it_goes_on_in_the_same_folder_with_the_same_settings(stopped: Path, which: str, more: list[str]) -> None:
    created = manifest(stopped)["created"]
    assert not is_done(stopped)
    assert cli.main(["train-protonet", f"resume={'latest' if which == 'latest' else stopped}", *more]) == 0
    assert [path for path in stopped.parent.iterdir()] == [stopped] and is_done(stopped)
    assert seen[0].train.episodes == 6 and seen[0].dataset.root.endswith("birds")
    lines = [json.loads(line) for line in (stopped / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    entries = manifest(stopped)
    assert (entries["state"], entries["created"], len(entries["resumed"])) == ("finished", created, 1)
    assert "resume=" in entries["resumed"][0]["command"] and "resume=" not in entries["command"]
    assert "error" not in entries and not list(stopped.glob("state-*"))


def test_changed_settings_are_listed(stopped: Path, capsys: Capture) -> None:
    words = ["train.episodes=9", "train.learning_rate=1e-4", "device=cpu"]
    assert cli.main(["train-protonet", "resume=latest", *words]) == 2
    told = capsys.readouterr().err
    assert "train.episodes=9 (the run has 6)" in told and "train.learning_rate=0.0001 (the run has 0.001)" in told
    assert "device" not in told and told.count("\n") == 1
    assert not is_done(stopped) and not seen


def test_a_recipe_is_compared_as_a_whole(stopped: Path, capsys: Capture) -> None:
    assert cli.main(["train-protonet", "resume=latest", "experiment=demo"]) == 2
    told = capsys.readouterr().err
    assert "backbone.name=resnet10 (the run has conv4)" in told and "train.episodes=600 (the run has 6)" in told


def test_a_finished_run_has_nothing_to_resume(stopped: Path, capsys: Capture) -> None:
    assert cli.main(["train-protonet", "resume=latest"]) == 0
    capsys.readouterr()
    for which in ("latest", stopped):
        assert cli.main(["train-protonet", f"resume={which}"]) == 2
        assert "finished" in capsys.readouterr().err
    with pytest.raises(MilrError, match="is finished"), reopen_run(stopped):
        pass


def test_there_may_be_nothing_to_resume(tmp_path: Path, make_run: MakeRun) -> None:
    with pytest.raises(MilrError, match="holds no run"):
        run_to_resume(tmp_path, "train_protonet", "latest")
    with pytest.raises(MilrError, match="no folder"):
        run_to_resume(tmp_path, "train_protonet", str(tmp_path / "absent"))
    with pytest.raises(MilrError, match="a run of fit-milr, not of train-protonet"):
        run_to_resume(tmp_path, "train_protonet", str(make_run("fit_milr")))


def go_on(folder: Path, begun: Event) -> None:
    with reopen_run(folder):
        begun.set()
        time.sleep(300)


def test_a_run_that_is_going_on_is_refused(stopped: Path) -> None:
    begun = CONTEXT.Event()
    other = begin(go_on, stopped, begun)
    assert begun.wait(120) and is_locked(stopped / "log.txt")
    with pytest.raises(MilrError, match="going on in another process"), reopen_run(stopped):
        pass
    other.kill()
    finish(other)
    assert not is_locked(stopped / "log.txt")  # the lock ends with its process
    with pytest.raises(MilrError, match="promised: best.pt"), reopen_run(stopped):
        pass


def test_leftovers_of_a_killed_write_are_removed(stopped: Path) -> None:
    (stopped / ".state-00000004.pt.x1.tmp").write_text("half")
    with pytest.raises(KeyboardInterrupt), reopen_run(stopped):
        assert not list(stopped.glob(".*.tmp"))
        raise KeyboardInterrupt


def test_a_missing_promised_file_fails_the_run(tmp_path: Path) -> None:
    with pytest.raises(MilrError, match="promised: maps.npz"), open_run(tmp_path, "fit_milr", "run", {}) as run:
        run.promise("maps.npz")
    assert manifest(tmp_path / "run")["state"] == "failed" and not (tmp_path / "run" / MARKER).exists()


def test_without_its_marker_a_run_is_not_finished(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run()
    assert is_done(folder)
    (folder / MARKER).unlink()  # killed between the manifest and the marker
    assert not is_done(folder)
    with pytest.raises(MilrError, match="not finished"):
        find_source(tmp_path, "train_protonet", str(folder))
    assert read_run(folder).state == "stopped"


def test_a_changed_parent_or_changed_data_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    source = find_source(tmp_path, "train_protonet", str(make_run()))
    require_same_parent({"parent": source.as_parent()}, source)
    with pytest.raises(MilrError, match="not the checkpoint that the run was started from"):
        require_same_parent({"parent": {**source.as_parent(), "sha256": "0"}}, source)
    data = {"root": "/birds", "images": 4, "fingerprint": "a"}
    run = Run(tmp_path, {"data": data})
    run.record_data(data, {})
    with pytest.raises(MilrError, match="changed since"):
        run.record_data({**data, "images": 5, "fingerprint": "b"}, {})


def test_a_sweep_can_compare_everything(stopped: Path) -> None:
    assert cli.main(["train-protonet", "resume=latest"]) == 0
    require_same(seen[0], stopped)
    seen[0].train.episodes = 7
    with pytest.raises(MilrError, match="train.episodes=7"):
        require_same(seen[0], stopped)


@pytest.mark.slow
def test_killed_and_resumed_the_stages_end_as_if_nothing_had_happened(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    import kill_test  # of scripts/

    load()
    monkeypatch.setattr("milr.stages.evaluate.draw", lambda *_: None)  # charts of the tables, which are compared
    monkeypatch.setattr(kill_test, "begin", begin)  # forked from here, not from a server that loads torch first
    assert kill_test.main(["--kills", "1"]) == 0
    told = capsys.readouterr().out
    assert re.findall(r"(\S+): 1 kills in .*: all the same", told) == ["train-protonet", "fit-milr", "evaluate"]
