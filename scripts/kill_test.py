"""Kill a stage at random moments, resume it until it is done, and compare it with a run that nobody disturbed.

    python scripts/kill_test.py --kills 20                     # each of train-protonet, fit-milr and evaluate
    python scripts/kill_test.py --kills 3 --stages fit-milr

On tiny drawn birds, on the CPU, with one thread. Checkpoints, maps, metrics and tables must be the same bit for bit,
each step must stand in `metrics.jsonl` once, and nothing may be left over. Exits with 1 where a run differs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

TINY = ["dataset.size=32", "backbone=conv4", "device=cpu", "episode.way=3", "episode.query=2"]
BIRDS = ["dataset.species=12", "dataset.images_per_species=8", "dataset.picture_size=64"]
STAGES = {
    "train-protonet": [
        *TINY, *BIRDS, "train.episodes=12", "train.validate_every=4", "train.validation_episodes=5",
        "train.log_every=1", "train.save_every=3",
    ],
    "fit-milr": [
        "milr.steps=10", "milr.validate_every=4", "milr.validation_episodes=2", "milr.log_every=1", "milr.save_every=3",
        "critic.steps=8", "critic.validate_every=4", "critic.images=8", "infomax.bank_images=8", "device=cpu",
    ],
    "evaluate": [
        "evaluate.episodes=4", "evaluate.percent=[20,60]", "evaluate.pixel_percent=[]", "evaluate.baselines=[]",
        "evaluate.sheet_rows=3", "device=cpu",
    ],
}  # fmt: skip
SAID = Path(tempfile.gettempdir()) / f"milr_kill_test_{os.getpid()}.txt"
PRELOAD = ["torch", "torchvision", "hydra", "matplotlib.figure", "milr.cli", "milr.explanation.fitting"]
PRELOAD += ["milr.evaluation.charts", "milr.stages.train_protonet", "milr.stages.fit_milr", "milr.stages.evaluate"]


def milr(words: list[str], said: Path) -> None:
    """One command in a process of its own; what it says goes into a file."""
    import torch

    from milr import cli

    torch.set_num_threads(1)
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(file, number)
        setattr(sys, name, os.fdopen(number, "w", closefd=False))
    sys.exit(cli.main(words))


def begin(target: Callable[..., object], *given: object) -> BaseProcess:
    """A process of its own. The server has the libraries loaded: a start takes a moment, not seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    process = context.Process(target=target, args=given)
    process.start()
    return process


def start(words: list[str]) -> BaseProcess:
    """The command, begun."""
    return begin(milr, words, SAID)


def finish(words: list[str]) -> float:
    """Run the command to its end; the seconds it took."""
    begun = time.perf_counter()
    process = start(words)
    process.join()
    if process.exitcode:
        raise SystemExit(f"milr {' '.join(words)} ended with {process.exitcode}: {SAID.read_text()[-2000:]}")
    return time.perf_counter() - begun


def done_runs(outputs: Path, stage: str) -> list[Path]:
    return [marker.parent for marker in (outputs / stage.replace("-", "_")).glob("*/DONE")]


def disturbed(stage: str, outputs: Path, words: list[str], seconds: float, kills: int) -> tuple[Path, int]:
    """A run killed up to `kills` times at random moments of `seconds`, and resumed until it is done."""
    before, killed, command = set(done_runs(outputs, stage)), 0, words
    while killed < kills:
        process = start(command)
        process.join(random.uniform(0, seconds))
        if process.exitcode is None and process.pid:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.join()
        if set(done_runs(outputs, stage)) - before:
            break  # it was quicker than the kill
        folder = outputs / stage.replace("-", "_")
        begun = any((run / "config.yaml").is_file() and run not in before for run in folder.glob("*"))
        command = [stage, f"outputs={outputs}", "resume=latest"] if begun else words
    if not set(done_runs(outputs, stage)) - before:
        finish(command)
    (run,) = set(done_runs(outputs, stage)) - before
    return run, killed


def same_file(one: Path, other: Path) -> bool:
    """Tensors and values of a checkpoint, else the bytes."""
    if one.suffix != ".pt":
        return one.read_bytes() == other.read_bytes()
    import torch

    return same(torch.load(one, weights_only=True), torch.load(other, weights_only=True))


def same(one: object, other: object) -> bool:
    import torch

    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def differences(whole: Path, run: Path) -> list[str]:
    """What is not as in the undisturbed run."""
    names = {path.name for path in whole.iterdir()}
    # States go after DONE has come: a kill between the two leaves them, which a finished run never reads.
    there = {path.name for path in run.iterdir() if not path.match("state-*.pt")}
    found = sorted(f"file {name}" for name in names ^ there)
    own = {"config.yaml", "manifest.json", "log.txt", "DONE"}  # each run's own: dates, paths
    found += [
        name for name in sorted(names - own) if (run / name).is_file() and not same_file(whole / name, run / name)
    ]
    results = [json.loads((folder / "manifest.json").read_text())["result"] for folder in (whole, run)]
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return found + ["result"] * (results[0] != results[1]) + ["doubled lines"] * (len(set(lines)) < len(lines))


def check_stage(stage: str, outputs: Path, words: list[str], kills: int) -> bool:
    """Whether every run that was killed and resumed is the undisturbed one."""
    command = [stage, f"outputs={outputs}", *words]
    seconds = finish(command)
    (whole,) = done_runs(outputs, stage)
    wrong, total, runs = list[str](), 0, 0
    while total < kills and not wrong:
        begun = time.perf_counter()
        run, killed = disturbed(stage, outputs, command, seconds, min(kills - total, random.randint(1, 5)))
        if not killed:  # the machine had less to do: kill earlier
            seconds = min(seconds, time.perf_counter() - begun)
        total, runs = total + killed, runs + 1
        wrong = differences(whole, run)
    print(f"{stage}: {total} kills in {runs} runs of {seconds:.1f} s: {', '.join(wrong) or 'all the same'}", flush=True)
    return not wrong


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs for each stage")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--seed", type=int, default=None, help="of the moments; chosen and printed if not given")
    arguments = parser.parse_args(words)
    seed = arguments.seed if arguments.seed is not None else random.randrange(10**6)
    random.seed(seed)
    print(f"seed {seed}", flush=True)
    finish(["--version"])  # starts the server
    good, source = True, ""
    with tempfile.TemporaryDirectory() as folder:
        outputs, birds = Path(folder) / "outputs", f"dataset.root={folder}/birds"
        for stage, words in STAGES.items():
            here = [birds, *words] if stage == "train-protonet" else [source, *words]
            if stage in arguments.stages:
                good &= check_stage(stage, outputs, here, arguments.kills)
            else:
                finish([stage, f"outputs={outputs}", *here])
            source = f"source={done_runs(outputs, stage)[0]}"
            if stage == max(arguments.stages, key=list(STAGES).index):
                break
    SAID.unlink()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
