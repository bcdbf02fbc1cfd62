"""Sweeps of real fits: in one process, in several, by Optuna, killed and gone on with, and their report."""

from __future__ import annotations

import csv
import os
import signal
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from forked import begin, finish
from omegaconf import OmegaConf
from PIL import Image
from small import FIT, Capture, call, error, manifest, run_of

from milr import cli


def test_a_sweep_gets_its_report(copy: Path, capsys: Capture) -> None:
    sweep = copy / "sweep"
    words = ["source=latest", *FIT, f"hydra.sweep.dir={sweep}", "milr.alpha=0,1", "milr.beta=0.1,-1"]
    assert call(copy, "fit-milr", "--multirun", *words) == 2
    assert "4 jobs: 2 done, 2 failed" in capsys.readouterr().out
    assert cli.main(["sweep-report", str(sweep)]) == 0
    assert "accuracy_kept" in capsys.readouterr().out
    with (sweep / "report" / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    done = {float(row["alpha"]): row for row in rows if row["state"] == "finished"}
    assert set(done) == {0.0, 1.0} and len(rows) == 4
    assert all("milr.beta=-1" in row["error"] for row in rows if row["state"] == "failed")
    runs = {path.parent.name for path in sweep.glob("*/manifest.json") if manifest(path.parent)["state"] == "finished"}
    alphas = [next(alpha for alpha in (0, 1) if f"milr.alpha={alpha},milr.beta=0.1" in run) for run in sorted(runs)]
    assert alphas == [0, 1]
    fitted = manifest(next(sweep.glob("*alpha=1,milr.beta=0.1*")))["result"]["validation"]
    kept = fitted["accuracy"] / fitted["untouched_accuracy"]
    assert float(done[1.0]["accuracy_kept"]) == pytest.approx(kept, abs=1e-6)
    for name in ("alpha_beta", "along_beta", "maps_decision", "maps_total", "maps_redundant"):
        assert np.array(Image.open(sweep / "report" / f"{name}.png")).std() > 10
    assert cli.main(["sweep-report", str(sweep), "--colours", "turbo", "--format", "pdf"]) == 0
    assert (sweep / "report" / "maps_total.pdf").read_bytes().startswith(b"%PDF")


def test_a_folder_that_is_no_sweep_has_no_report(copy: Path, capsys: Capture) -> None:
    assert cli.main(["sweep-report", str(run_of(copy, "fit_milr"))]) == 2
    assert "is one run" in error(capsys)


@pytest.mark.filterwarnings("default")
def test_optuna_minimises_what_a_fit_returns(copy: Path, capsys: Capture) -> None:
    pytest.importorskip("optuna")
    sweep = copy / "study"
    words = [
        "source=latest",
        *FIT,
        "milr.steps=1",
        f"hydra.sweep.dir={sweep}",
        "milr.learning_rate=tag(log,interval(0.0001,0.01))",
    ]
    study = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1"]
    study += ["hydra.sweeper.sampler.seed=0", "--multirun"]
    assert call(copy, "fit-milr", *words, *study) == 0
    found = {float(str(manifest(path.parent)["objective"])) for path in sweep.glob("*/manifest.json")}
    best = OmegaConf.load(sweep / "optimization_results.yaml")
    assert len(found) == 2 and best.best_value == min(found)
    capsys.readouterr()
    assert call(copy, "fit-milr", *words, *study) == 0  # the same trials, since skipped ones return what they returned
    assert "2 jobs: 2 skipped" in capsys.readouterr().out
    assert OmegaConf.load(sweep / "optimization_results.yaml") == best


def carry_out(sweeps: list[list[str]], said: Path) -> None:
    """One command after the other in this process, where joblib's own processes are kept for the next."""
    import joblib.externals.loky.reusable_executor as loky

    loky._executor = None  # what the forked process had is not this one's
    codes = []
    for words in sweeps:
        with said.open("a") as file, redirect_stdout(file), redirect_stderr(file):
            codes.append(cli.main(words))
            print("codes:", codes)


def worker_of(sweep: int) -> int:
    """The number of one of joblib's processes that carry out the jobs."""
    children = Path(f"/proc/{sweep}/task/{sweep}/children").read_text().split()
    return next(int(child) for child in children if "LokyProcess" in Path(f"/proc/{child}/cmdline").read_text())


@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the processes in /proc")
def test_of_two_jobs_at_once_one_may_fail_and_a_killed_worker_stops_the_sweep_in_one_line(
    copy: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Two sweeps by the same two processes of joblib: of three jobs, and of two of which one is killed."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    three, killed, said = copy / "three", copy / "killed", tmp_path / "said"
    start = ["fit-milr", f"outputs={copy}", "source=latest", *FIT]
    first = [*start, f"hydra.sweep.dir={three}", "milr.beta=0.1,-1,0.2", "--multirun"]
    words = [*start, "milr.steps=6", "milr.save_every=1", "milr.log_every=1", "milr.beta=0.1,0.2"]
    words += [f"hydra.sweep.dir={killed}", "--multirun"]
    joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    running = begin(carry_out, [[*first, *joblib], [*words, *joblib]], said)
    while running.is_alive() and not list(killed.glob("*/state-*.pt")):
        time.sleep(0.01)
    assert running.pid
    os.kill(worker_of(running.pid), signal.SIGKILL)
    finish(running)
    told = said.read_text()
    assert "codes: [2, 2]" in told and "Traceback" not in told
    assert "3 jobs: 2 done, 1 failed" in told  # of the first sweep
    assert [manifest(path.parent)["state"] for path in three.glob("*/manifest.json")] == ["finished"] * 2
    assert "error: a process of the sweep was killed" in told and "the same command goes on" in told

    assert cli.main(words) == 0
    assert "resumed" in capsys.readouterr().out
    steps = [path.read_text().count('"train"') for path in killed.glob("*/metrics.jsonl")]
    assert steps == [6, 6]  # each once
