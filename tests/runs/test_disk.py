"""Runs on a disk that is full or may not be written: one line that says so, and nothing that looks finished."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from disks import fill, full_after, open_folder, unprivileged

from milr.data.catalogues import open_catalogue
from milr.data.settings import SyntheticSettings
from milr.errors import MilrError
from milr.files import write_atomically
from milr.runs.checkpoints import save_checkpoint
from milr.runs.disk import disk_errors, require_listable
from milr.runs.folder import MANIFEST, open_run
from milr.runs.sources import find_source

LARGE = {"kind": "protonet", "weights": torch.zeros(100_000)}


def state(folder: Path) -> str:
    return str(json.loads((folder / MANIFEST).read_text())["state"])


def test_a_run_whose_checkpoint_does_not_fit_fails_in_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(MilrError, match=r"run: File too large; raise the limit"),
        full_after(50_000),
        open_run(tmp_path / "train_protonet", "train_protonet", "run", {}) as run,
    ):
        save_checkpoint(run.path("best.pt"), LARGE)
    assert state(run.folder) == "failed"
    assert "File too large" in json.loads((run.folder / MANIFEST).read_text())["error"]
    assert {path.name for path in run.folder.iterdir()} == {MANIFEST, "log.txt"}


def write_of(path: Path, size: int) -> None:
    """As many bytes as go into the file's buffer, or more: a write that fails when it is closed, or at once."""
    write_atomically(path, lambda file: file.write(b"x" * size))


def test_the_place_that_is_full_is_named_and_not_the_runs_folder(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "birds"
    drawn = SyntheticSettings(root=str(elsewhere), species=4, images_per_species=2, picture_size=64)
    for name, work in (
        (elsewhere, lambda: open_catalogue(drawn)),
        *((tmp_path / f"{size}.html", partial(write_of, tmp_path / f"{size}.html", size)) for size in (3_000, 9_000)),
    ):
        with (
            pytest.raises(MilrError, match=f"^{name}: File too large; raise the limit on the size of files$"),
            full_after(2_000),
            open_run(tmp_path / "visualize", "visualize", "run", {}),
        ):
            work()
    assert not elsewhere.exists()


def test_a_disk_that_is_full_even_for_the_manifest_is_told_and_the_run_never_counts_as_finished(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    parent = tmp_path / "train_protonet"
    for work in (lambda run: save_checkpoint(run.path("best.pt"), LARGE), lambda run: run.metrics(step=1), str):
        with (
            pytest.raises(MilrError, match="File too large"),
            full_after(1 << 20),
            open_run(parent, "train_protonet", "run", {}) as run,
        ):
            fill()
            logging.getLogger("milr").error("nobody can write this down")
            work(run)
            run.record(result=1)
        assert state(run.folder) == "running"
        with pytest.raises(MilrError, match="not finished"):
            find_source(tmp_path, "train_protonet", str(run.folder))
    with pytest.raises(MilrError, match="3 run.s. of train-protonet, none finished"):
        find_source(tmp_path, "train_protonet", "latest")
    assert capfd.readouterr().err == ""  # logging has no word of its own to say


@pytest.mark.parametrize(
    "number",
    [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP],
)
def test_what_the_disk_says_comes_with_a_way_out(number: int, tmp_path: Path) -> None:
    with pytest.raises(MilrError, match=rf"{tmp_path}: {os.strerror(number)}; .+"), disk_errors(tmp_path):
        raise OSError(number, os.strerror(number))


def test_other_errors_come_out_as_they_are(tmp_path: Path) -> None:
    for error in (ConnectionResetError(errno.ECONNRESET, "reset"), ValueError("a bug"), MilrError("mend it")):
        with pytest.raises(type(error)) as told, disk_errors(tmp_path):
            raise error
        assert told.value is error


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that this process may not write to: root gives its rights away meanwhile."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_folder_that_may_only_be_read_is_named_before_any_work(read_only: Path) -> None:
    with (
        pytest.raises(MilrError, match=rf"cannot write a run folder in {read_only}.*Permission denied.*outputs="),
        open_run(read_only / "outputs", "train_protonet", "run", {}),
    ):
        raise AssertionError("the work must not begin")
    assert list(read_only.iterdir()) == []


def test_a_run_folder_that_becomes_read_only_is_named(read_only: Path) -> None:
    with (
        pytest.raises(MilrError, match=rf"{read_only}/.*best.*Permission denied; give yourself"),
        disk_errors(read_only),
    ):
        save_checkpoint(read_only / "best.pt", LARGE)


def test_advice_about_outputs_is_for_the_runs_own_folder_alone(tmp_path: Path) -> None:
    inside, outside = tmp_path / "run" / "best.pt", tmp_path / "data" / "bird.jpg"
    for path, end in ((inside, ", or name another place with outputs="), (outside, "")):
        with pytest.raises(MilrError) as told, disk_errors(tmp_path / "run"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        assert str(told.value).startswith(f"{path}: ") and str(told.value).endswith(f" the permission{end}")


def test_a_run_folder_that_is_deleted_meanwhile_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(MilrError, match=r"run was deleted while its run went on: start it again"),
        open_run(tmp_path, "train_protonet", "run", {}) as run,
    ):
        shutil.rmtree(run.folder)
        run.record(result=1)
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        (tmp_path / "absent").read_bytes()


def test_a_name_that_the_locale_cannot_write_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "ascii")
    with pytest.raises(MilrError, match=r"données: the locale's encoding \(ascii\) .* set PYTHONUTF8=1"), disk_errors():
        "données".encode("ascii")


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o333])
def test_a_folder_that_may_not_be_read_is_named(mode: int) -> None:
    with open_folder() as folder:
        (folder / "runs").mkdir()
        (folder / "runs").chmod(mode)
        with unprivileged():
            with pytest.raises(MilrError, match=f"the folder {folder}/runs cannot be read: Permission denied; give"):
                require_listable(folder / "runs")
            require_listable(folder)
            require_listable(folder / "absent")
