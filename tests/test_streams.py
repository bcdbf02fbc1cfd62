"""Output that is closed, full, read no more or too narrow: what was done stays done, and its exit code is its own."""

from __future__ import annotations

import errno
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from forked import finish, start

from milr.data.records import Catalogue
from milr.runs.manifests import is_done
from milr.streams import LossyStream, lossy_streams

MILR = [sys.executable, "-m", "milr"]
TRAIN = ["train-protonet", "backbone=conv4", "device=cpu", "dataset.species=12", "dataset.picture_size=64"]
TRAIN += ["dataset.size=32", "episode.way=3", "episode.query=2", "train.episodes=2"]
TRAIN += ["train.validate_every=1", "train.validation_episodes=3", "train.log_every=1"]
COMMANDS = ["", "--version", "runs", "runs --json", "train-protonet --help", "train-protonet --cfg job", "show --help"]
LOST = "error: standard output: No space left on device; what was to be shown there is lost\n"


def shell(words: list[str], how: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `milr words` with the redirections `how`; the exit code is that of milr."""
    command = ["bash", "-c", f'"$@" {how}; exit ${{PIPESTATUS[0]}}', "bash", *MILR, *words]
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
    )


def python(lines: list[list[str]], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Several `milr` one after the other in one new process; its exit code is the highest of them."""
    code = (
        "import shlex, sys; from milr.cli import main; sys.exit(max(main(shlex.split(line)) for line in sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *map(shlex.join, lines)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
    )


class Broken(io.StringIO):
    """A stream that fails as the system would have it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(
    ("number", "complaint"),
    [(errno.EPIPE, None), (errno.ENOSPC, "No space left on device"), (errno.EBADF, "Bad file descriptor")],
)
def test_what_cannot_be_written_is_lost_and_only_a_reader_that_left_is_no_reason(
    number: int, complaint: str | None
) -> None:
    stream = LossyStream(Broken(number))
    print("line", file=stream)
    assert stream.lost is not None and stream.lost.errno == number and stream.complaint == complaint


def test_a_character_that_the_encoding_has_not_is_escaped() -> None:
    for encoding, shown in (
        ("ascii", r"\xb1 \u2192 \udce9"),
        ("latin-1", r"± \u2192 \udce9"),
        ("utf-8", r"± → \udce9"),
    ):
        file = io.BytesIO()
        stream = LossyStream(io.TextIOWrapper(file, encoding=encoding))
        print("± → \udce9", file=stream, end="")
        stream.flush()
        assert file.getvalue().decode(encoding) == shown


def test_the_streams_are_put_back_and_not_wrapped_twice() -> None:
    before = sys.stdout, sys.stderr
    with lossy_streams() as outer, lossy_streams() as inner:
        assert inner == outer == (sys.stdout, sys.stderr)
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize(
    "command", [pytest.param(line, marks=[pytest.mark.slow] * (line != "--version")) for line in COMMANDS]
)
def test_a_command_whose_output_is_read_no_more_ends_well_and_one_whose_output_is_lost_says_so(
    command: str, tmp_path: Path
) -> None:
    (tmp_path / "outputs").mkdir()
    for how, code, said in (
        ("2>&1 | head -c 0", 0, ""),
        (">&- 2>&- <&-", 0, ""),
        (">/dev/full", 2, LOST),
        (">/dev/full 2>/dev/full", 2, ""),
    ):
        answer = shell(command.split(), how, tmp_path)
        assert (answer.returncode, answer.stderr, answer.stdout) == (code, said, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "sweep"),
    [
        ("| head -n 1", []),
        ("2>&1 | head -n 1", []),
        (">/dev/full 2>/dev/full", []),
        (">&- 2>&- <&-", []),
        ("2>&1 | head -n 1", ["--multirun", "seed=0,1"]),
    ],
)
def test_a_training_ends_as_finished_whoever_reads_it(
    how: str, sweep: list[str], birds: Catalogue, tmp_path: Path
) -> None:
    errors, reader = tmp_path / "stderr", None
    streams = {
        "| head -n 1": (os.devnull, tmp_path / "pipe", errors),
        "2>&1 | head -n 1": (os.devnull, tmp_path / "pipe", tmp_path / "pipe"),
        ">/dev/full 2>/dev/full": (os.devnull, "/dev/full", "/dev/full"),
        ">&- 2>&- <&-": (None, None, None),
    }[how]
    if "head" in how:
        os.mkfifo(tmp_path / "pipe")
        reader = subprocess.Popen(["head", "-n", "1", tmp_path / "pipe"], stdout=subprocess.PIPE)
    assert (
        finish(start([*TRAIN, "dataset.images_per_species=8", f"dataset.root={birds.root}", *sweep], streams, tmp_path))
        == 0
    )
    assert reader is None or reader.communicate(timeout=60)[0].count(b"\n") == 1
    assert not errors.exists() or "Error" not in errors.read_text()
    runs = list((tmp_path / "outputs").glob("train_protonet*/**/manifest.json"))
    assert len(runs) == (2 if sweep else 1)
    for manifest in runs:
        assert is_done(manifest.parent)
        assert json.loads(manifest.read_text(encoding="utf-8"))["result"]["validation_accuracy"] > 0
        log = (manifest.parent / "log.txt").read_text(encoding="utf-8")
        assert "kept step" in log and "finished after" in log


@pytest.mark.slow
def test_names_are_taken_and_shown_in_an_ascii_locale(tmp_path: Path) -> None:
    ascii_locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    train = [*TRAIN, "dataset.images_per_species=3", "dataset.root='données/a'", "outputs='sorties é'"]
    test = ["test-protonet", "source=latest", "outputs='sorties é'", "test.episodes=3"]
    runs, show = ["runs", "outputs=sorties é", "--json"], ["show", "train-protonet", "outputs=sorties é"]
    tested = python([train, test], tmp_path, ascii_locale)
    assert tested.returncode == 0 and r"\xb1" in tested.stdout, tested.stderr
    (run,) = (tmp_path / "sorties é" / "train_protonet").iterdir()
    assert is_done(run) and (tmp_path / "données" / "a").is_dir()
    for environment in (ascii_locale, {"PYTHONUTF8": "1"}):  # what was made in one locale is read in the other
        told = python([runs, show], tmp_path, environment)
        listed, end = json.JSONDecoder().raw_decode(told.stdout)
        assert [entry["state"] for entry in listed] == ["finished", "finished"]
        shown = told.stdout[end:]
        assert told.returncode == 0 and shown.count("unchanged") == 1 and "!" not in shown
