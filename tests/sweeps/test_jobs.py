"""A sweep from the command line to its folders and its table, run once and again, with work that only pretends."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from pretend import pretend
from small import manifest

from milr import cli
from milr.errors import MilrError
from milr.runs.checkpoints import save_checkpoint
from milr.runs.folder import Run
from milr.runs.locks import is_locked
from milr.runs.sources import SourceRun
from milr.settings.schema import FitMilr, TrainProtonet
from milr.sweeps.folders import claim, release_all
from milr.sweeps.jobs import JobSummary, read_jobs, table
from milr.sweeps.names import sweep_name

Capture = pytest.CaptureFixture[str]

worked: list[tuple[float, int]] = []  # learning rate and seed of each job that was really carried out
broken: set[float] = set()  # learning rates with which the next job fails


def train(settings: TrainProtonet, run: Run) -> float:
    """Pretends to train."""
    worked.append((settings.train.learning_rate, settings.seed))
    if settings.train.learning_rate in broken:
        raise MilrError("the loss is not a number")
    if settings.train.learning_rate == 15:
        raise KeyboardInterrupt
    save_checkpoint(run.path("best.pt"), {"kind": "protonet", "weight": torch.ones(1)})
    run.record_checkpoint("best.pt")
    run.record(result={"validation_accuracy": settings.train.learning_rate / 2})
    return settings.train.learning_rate / 2


def fit(settings: FitMilr, run: Run, source: SourceRun) -> float:
    worked.append((settings.milr.alpha, settings.seed))
    run.record(result={"source": str(source.folder)})
    return 0.0


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The caller's folder, and stages that pretend."""
    monkeypatch.chdir(tmp_path)
    pretend(monkeypatch, train_protonet=train, fit_milr=fit)
    worked.clear()
    broken.clear()
    return tmp_path


def sweeps(stage: str = "train_protonet") -> list[Path]:
    return sorted(Path("outputs", f"{stage}_sweeps").iterdir())


def states(sweep: Path) -> list[str]:
    return [job.state for job in read_jobs(sweep)]


SWEEP = ["train-protonet", "-m", "train.learning_rate=0.1,0.2", "seed=1,2"]


@pytest.mark.slow
def test_the_same_sweep_again_lands_on_the_same_folders_and_skips_what_is_done(capsys: Capture) -> None:
    assert cli.main(SWEEP) == 0
    (sweep,) = sweeps()
    assert sweep.name.startswith("seed=1,2,train.learning_rate=0.1,0.2-")
    before = {path: path.read_bytes() for path in sweep.glob("*=*/**/*") if path.is_file()}
    assert len(worked) == 4 and states(sweep) == ["done"] * 4
    capsys.readouterr()

    assert cli.main([SWEEP[0], SWEEP[3], "-m", SWEEP[2]]) == 0  # in another order
    assert sweeps() == [sweep] and len(worked) == 4 and states(sweep) == ["skipped"] * 4
    assert {path: path.read_bytes() for path in sweep.glob("*=*/**/*") if path.is_file()} == before
    out = capsys.readouterr().out
    assert "4 jobs: 4 skipped" in out and out.count("skipped, since it is done") == 4
    line = next(line for line in out.splitlines() if line.startswith("seed=2 train.learning_rate=0.2"))
    assert line.split()[2:] == ["skipped", "0.1", "0.1"]  # the objective and the accuracy that it had


@pytest.mark.slow
def test_a_sweep_again_carries_out_what_failed_and_nothing_else(capsys: Capture) -> None:
    broken.add(0.2)
    assert cli.main(SWEEP) == 2
    (sweep,) = sweeps()
    assert states(sweep) == ["done", "done", "failed", "failed"]
    out = capsys.readouterr().out
    assert "4 jobs: 2 done, 2 failed" in out and "the loss is not a number" in out
    broken.clear()
    worked.clear()
    assert cli.main(SWEEP) == 0
    assert worked == [(0.2, 1), (0.2, 2)]
    assert sorted(states(sweep)) != ["done"] * 4 and states(sweep)[:2] == ["skipped"] * 2
    runs = [path.parent for path in sweep.glob("*/manifest.json")]
    assert len(runs) == 4 and {manifest(run)["state"] for run in runs} == {"finished"}


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on_where_it_was(capsys: Capture) -> None:
    words = ["train-protonet", "-m", "train.learning_rate=0.1,15,0.2"]
    assert cli.main(words) == 130
    (sweep,) = sweeps()
    assert states(sweep) == ["done"]
    assert cli.main(["train-protonet", "-m", "train.learning_rate=0.1,0.2", f"hydra.sweep.dir='{sweep}'"]) == 0
    assert states(sweep) == ["skipped", "done"]


@pytest.mark.slow
def test_a_job_done_with_other_settings_is_no_reason_to_skip(capsys: Capture) -> None:
    named = "hydra.sweep.dir=outputs/mine"
    assert cli.main(["train-protonet", "-m", "seed=1,2", named]) == 0
    config = Path("outputs/mine/seed=2/config.yaml")
    config.write_text(config.read_text().replace("warmup: 0", "warmup: 7"))  # as if the default had been another
    capsys.readouterr()
    assert cli.main(["train-protonet", "-m", "seed=1,2", named]) == 2
    assert states(Path("outputs/mine")) == ["skipped", "failed"]
    told = capsys.readouterr().err
    assert "train.warmup" in told and "7" in told and "seed=2" in told
    assert manifest(config.parent)["state"] == "finished"  # what is there was left alone


def test_settings_that_change_no_result_may_differ() -> None:
    named = "hydra.sweep.dir=outputs/mine"
    assert cli.main(["train-protonet", "-m", "seed=1", named]) == 0
    config = Path("outputs/mine/seed=1/config.yaml")
    config.write_text(config.read_text().replace("device: auto", "device: cuda"))
    assert cli.main(["train-protonet", "-m", "seed=1", named]) == 0
    assert states(Path("outputs/mine")) == ["skipped"]


@pytest.mark.slow
def test_all_jobs_have_the_source_that_was_the_latest_when_the_sweep_began() -> None:
    assert cli.main(["train-protonet"]) == 0
    (first,) = Path("outputs/train_protonet").iterdir()
    words = ["fit-milr", "-m", "source=latest", "milr.alpha=0.5,1"]
    assert cli.main(words) == 0
    (sweep,) = sweeps("fit_milr")
    assert sweep.name.startswith(f"milr.alpha=0.5,1,source={first.name}-")
    runs = sorted(path.parent for path in sweep.glob("*/manifest.json"))
    assert [run.name for run in runs] == ["milr.alpha=0.5", "milr.alpha=1"]
    assert {manifest(run)["result"]["source"] for run in runs} == {str(first.absolute())}
    assert f"source={first.absolute()}" in manifest(runs[0])["command"].replace("'", "").replace('"', "")

    assert cli.main(["train-protonet"]) == 0  # now another run is the latest: another sweep
    assert cli.main(words) == 0
    assert len(sweeps("fit_milr")) == 2


@pytest.mark.slow
def test_a_source_trained_anew_in_its_place_is_another_source(capsys: Capture) -> None:
    assert cli.main(["train-protonet"]) == 0
    (parent,) = Path("outputs/train_protonet").iterdir()
    words = ["fit-milr", "-m", f"source={parent}", "milr.alpha=1"]
    assert cli.main(words) == 0
    save_checkpoint(parent / "best.pt", {"kind": "protonet", "weight": torch.zeros(1)})
    Run(parent, manifest(parent)).record_checkpoint("best.pt")
    capsys.readouterr()
    assert cli.main(words) == 2
    assert str(parent) in capsys.readouterr().err and states(sweeps("fit_milr")[0]) == ["failed"]


@pytest.mark.slow
def test_several_sources_have_folders_of_their_own() -> None:
    assert cli.main(["train-protonet"]) == cli.main(["train-protonet"]) == 0
    one, other = sorted(Path("outputs/train_protonet").iterdir())
    assert cli.main(["fit-milr", "-m", f"source={one},{other}", "milr.alpha=1"]) == 0
    (sweep,) = sweeps("fit_milr")
    parents = {path.parent.name: manifest(path.parent)["parent"]["folder"] for path in sweep.glob("*/manifest.json")}
    assert set(parents.values()) == {str(one.absolute()), str(other.absolute())}
    assert all(name.startswith(f"milr.alpha=1,source={Path(parent).name}-") for name, parent in parents.items())


def test_no_source_is_one_error_and_no_sweep(capsys: Capture) -> None:
    assert cli.main(["fit-milr", "-m", "source=latest", "milr.alpha=1,2"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: source=latest") and told.count("\n") == 1
    assert not Path("outputs/fit_milr_sweeps").exists()


def hold(folder: str, held: Any, done: Any) -> None:
    claim(Path(folder))
    held.set()
    done.wait(60)


@pytest.mark.slow
def test_a_sweep_that_runs_already_is_not_started_twice(folder: Path, capsys: Capture) -> None:
    spawn = multiprocessing.get_context("fork")
    held, done = spawn.Event(), spawn.Event()
    sweep = folder / "outputs/train_protonet_sweeps" / sweep_name(["seed=1,2"])
    other = spawn.Process(target=hold, args=(str(sweep), held, done))
    other.start()
    try:
        assert held.wait(60)
        assert cli.main(["train-protonet", "-m", "seed=1,2"]) == 2
        assert "another process runs this sweep" in capsys.readouterr().err and worked == []
    finally:
        done.set()
        other.join()
    assert cli.main(["train-protonet", "-m", "seed=1,2"]) == 0


def test_a_lock_is_free_again_after_the_sweep(tmp_path: Path) -> None:
    claim(tmp_path)
    claim(tmp_path)  # the process's own
    assert is_locked(tmp_path / ".lock")
    release_all()
    assert not is_locked(tmp_path / ".lock")


def test_a_sweep_that_hydra_refuses_frees_its_lock(capsys: Capture) -> None:
    assert cli.main(["train-protonet", "-m", "hydra.sweeper.max_batch_size=0", "seed=1,2"]) == 2
    (sweep,) = sweeps()
    assert (sweep / ".lock").is_file() and not is_locked(sweep / ".lock")


def test_the_table_shows_what_the_jobs_do_not_share() -> None:
    jobs = [
        JobSummary(0, "a", ["x=1", "y=0"], "done", 0.25, {"accuracy": 0.5}, None, 0),
        JobSummary(1, "b", ["x=2", "y=0"], "failed", None, {}, "it broke", 2),
        JobSummary(2, "c", ["x=3", "y=0"], "skipped", None, {"accuracy": None}, None, 0),
    ]
    lines = [line.split() for line in table(jobs)]
    assert lines[0] == ["job", "state", "objective", "accuracy"]
    assert lines[1:4] == [
        ["x=1", "done", "0.25", "0.5"],
        ["x=2", "failed", "it", "broke"],
        ["x=3", "skipped", "-", "-"],
    ]
    assert " ".join(lines[4]) == "3 jobs: 1 done, 1 skipped, 1 failed"
