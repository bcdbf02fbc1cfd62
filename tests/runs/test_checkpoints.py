from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from disks import full_after

from milr.backbones.weight_files import read_weight_file
from milr.errors import MilrError
from milr.files import sha256_of, write_atomically
from milr.runs.checkpoints import load_checkpoint, save_checkpoint
from milr.runs.disk import disk_error


class Trap:
    """What a pickle may hold: unpickling it would make the folder `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


CONTENT: dict[str, Any] = {"kind": "protonet", "state": {"w": torch.arange(3.0)}, "names": ["a", "b"], "epoch": 3}


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    save_checkpoint(path, CONTENT)
    loaded = load_checkpoint(path, "protonet")
    assert torch.equal(loaded["state"]["w"], CONTENT["state"]["w"])
    assert (loaded["names"], loaded["epoch"]) == (["a", "b"], 3)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.99])
def test_a_truncated_checkpoint_is_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "best.pt"
    save_checkpoint(path, CONTENT)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(MilrError, match="truncated"):
        load_checkpoint(path, "protonet")


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.pt"
    path.write_text("no checkpoint at all")
    with pytest.raises(MilrError, match="no checkpoint of milr"):
        load_checkpoint(path, "protonet")
    torch.save({"conv.weight": torch.zeros(1)}, path)
    with pytest.raises(MilrError, match="not written by milr"):
        load_checkpoint(path, "protonet")
    torch.save([Path("code")], path)  # needs code to load: never run
    with pytest.raises(MilrError, match="no checkpoint of milr"):
        load_checkpoint(path, "protonet")
    save_checkpoint(path, {"kind": "milr"})
    with pytest.raises(MilrError, match="kind 'milr'.*'protonet'"):
        load_checkpoint(path, "protonet")
    with pytest.raises(MilrError, match="there is no checkpoint"):
        load_checkpoint(tmp_path / "absent.pt", "protonet")


def test_a_pickle_in_a_checkpoint_is_refused_and_nothing_in_it_runs(tmp_path: Path) -> None:
    path, sprung = tmp_path / "trap.pt", tmp_path / "sprung"
    pickled = pickle.dumps(Trap(sprung))
    for write in (lambda: torch.save({**CONTENT, "trap": Trap(sprung)}, path), lambda: path.write_bytes(pickled)):
        write()
        with pytest.raises(MilrError, match="no checkpoint of milr"):
            load_checkpoint(path, "protonet")
        with pytest.raises(MilrError, match="cannot be read as weights|holds Python objects"):
            read_weight_file(path)
    assert not sprung.exists()
    pickle.loads(pickled)  # the trap is a real one
    assert sprung.exists()


@pytest.mark.parametrize("size", [0, 50_000])
def test_a_disk_that_fills_up_during_a_checkpoint_leaves_the_old_one(tmp_path: Path, size: int) -> None:
    path = tmp_path / "best.pt"
    save_checkpoint(path, CONTENT)
    with full_after(size), pytest.raises((OSError, RuntimeError)) as told:
        save_checkpoint(path, {**CONTENT, "more": torch.zeros(100_000)})
    found = disk_error(told.value)
    assert found is not None and found.errno == errno.EFBIG
    assert load_checkpoint(path, "protonet")["epoch"] == 3 and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [Path("x"), {1, 2}, object(), [torch.nn.Linear(1, 1)]])
def test_only_tensors_and_plain_values_are_saved(tmp_path: Path, value: object) -> None:
    with pytest.raises(TypeError, match="checkpoint"):
        save_checkpoint(tmp_path / "x.pt", {"kind": "protonet", "value": value})
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def half(file: Any) -> None:
        file.write(b"new, but on")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_files_have_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    write_atomically(tmp_path / "atomic", lambda file: file.write(b""))
    assert os.stat(tmp_path / "atomic").st_mode == os.stat(tmp_path / "usual").st_mode


def test_sha256_is_the_known_one(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_pipe_or_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MilrError, match="pipe is a pipe: name a file"):
        write_atomically(tmp_path / "pipe", lambda file: file.write(b""))
    assert (tmp_path / "pipe").is_fifo() and len(list(tmp_path.iterdir())) == 1
