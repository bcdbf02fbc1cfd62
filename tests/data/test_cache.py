"""Kept pictures: the same as read ones, never half of them, and made again when anything has changed."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
import torch
from forked import CONTEXT, begin
from PIL import Image

from milr.data import cache
from milr.data.cache import cache_name, cached_pictures
from milr.data.pictures import load_pictures
from milr.data.records import Box, Catalogue, Record
from milr.errors import MilrError

SIZE = 24


@pytest.fixture
def records(birds: Catalogue) -> tuple[Record, ...]:
    return birds.records[:10]


def kept(folder: Path) -> Path:
    (path,) = folder.glob("*.npy")
    return path


def forbid_building(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the file is made again")

    monkeypatch.setattr(cache, "build", refuse)


def test_the_same_pictures_with_and_without(
    records: tuple[Record, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = load_pictures(records, SIZE, "bbox")
    made = cached_pictures(records, SIZE, "bbox", tmp_path / "cache")
    forbid_building(monkeypatch)
    mapped = cached_pictures(records, SIZE, "bbox", tmp_path / "cache")
    for pictures in (made, mapped, cached_pictures(records, SIZE, "bbox", None)):
        assert torch.equal(pictures.images, read.images) and pictures.images.dtype == torch.uint8
        assert torch.equal(pictures.labels, read.labels) and pictures.records == read.records
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".npy"]


def test_writing_into_the_pictures_leaves_the_file_alone(records: tuple[Record, ...], tmp_path: Path) -> None:
    images = cached_pictures(records, SIZE, "none", tmp_path).images
    before = images.clone()
    images.zero_()
    assert torch.equal(cached_pictures(records, SIZE, "none", tmp_path).images, before)


def test_the_size_is_announced_before_anything_is_made(
    records: tuple[Record, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "framed_pictures", lambda *_, **__: 1 / 0)
    with caplog.at_level("INFO"), pytest.raises(ZeroDivisionError):
        cached_pictures(records, 100, "none", tmp_path)
    assert "10 pictures of 100 px" in caplog.text and "0.3 MB" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_of_kept_pictures_those_that_look_damaged_are_told_in_every_run(
    records: tuple[Record, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = tmp_path / "a.bmp"
    Image.new("RGB", (8, 8), "red").save(content)
    content.write_bytes(content.read_bytes() + bytes(100))
    suspect = [records[0], replace(records[1], path=content)]
    for _ in range(2):
        monkeypatch.setattr("milr.data.pictures.WARNED", set[str]())  # as in a process of its own
        caplog.clear()
        cached_pictures(suspect, 16, "none", tmp_path / "kept")
        assert [message for message in caplog.messages if "100 bytes are left" in message]


@pytest.mark.parametrize("damage", ["cut", "flip", "flip in header", "empty", "longer"])
def test_a_damaged_file_is_made_again(records: tuple[Record, ...], tmp_path: Path, damage: str) -> None:
    whole = cached_pictures(records, SIZE, "none", tmp_path).images.clone()
    content = bytearray(kept(tmp_path).read_bytes())
    if damage == "cut":
        del content[-100:]
    elif damage == "empty":
        content.clear()
    elif damage == "longer":
        content.append(0)
    else:
        content[5000 if damage == "flip" else 20] ^= 1
    sound = kept(tmp_path).read_bytes()
    kept(tmp_path).write_bytes(content)
    assert torch.equal(cached_pictures(records, SIZE, "none", tmp_path).images, whole)
    assert kept(tmp_path).read_bytes() == sound


def test_a_changed_picture_box_crop_or_size_has_another_name(records: tuple[Record, ...], tmp_path: Path) -> None:
    copy = tmp_path / "picture.png"
    copy.write_bytes(records[0].path.read_bytes())
    one = [replace(records[0], path=copy)]
    names = {cache_name(one, SIZE, "none"), cache_name(one, SIZE, "bbox"), cache_name(one, SIZE + 1, "none")}
    assert cache_name(one, SIZE, "none") in names  # the same again
    names.add(cache_name([replace(one[0], box=Box(1, 2, 3, 4))], SIZE, "none"))
    names.add(cache_name([*one, records[1]], SIZE, "none"))
    status = copy.stat()
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    names.add(cache_name(one, SIZE, "none"))
    copy.write_bytes(copy.read_bytes() + b" ")
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    names.add(cache_name(one, SIZE, "none"))
    status = copy.stat()
    time.sleep(0.02)  # a disk may count in hundredths of a second
    copy.write_bytes(bytes(status.st_size))
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))  # of the same size and date, as from an archive
    names.add(cache_name(one, SIZE, "none"))
    assert len(names) == 8


def build_slowly(records: tuple[Record, ...], folder: Path, seconds: float, together: Barrier) -> None:
    """A process of its own that begins when all have, and takes its time for each picture."""
    pictures = cache.framed_pictures

    def slow(*arguments: object, **options: object) -> object:
        together.wait(120)
        for image in pictures(*arguments, **options):  # type: ignore[arg-type]
            time.sleep(seconds)
            yield image

    cache.framed_pictures = slow  # type: ignore[assignment]
    cached_pictures(records, SIZE, "none", folder)


def start(records: tuple[Record, ...], folder: Path, seconds: float, together: Barrier) -> BaseProcess:
    return begin(build_slowly, records, folder, seconds, together)


def wait_for_part(folder: Path) -> None:
    until = time.monotonic() + 120
    while not list(folder.glob(".*.tmp")):
        assert time.monotonic() < until, "no file was begun"
        time.sleep(0.01)


@pytest.mark.slow
def test_two_processes_may_build_at_once(records: tuple[Record, ...], tmp_path: Path) -> None:
    together = CONTEXT.Barrier(2)
    for process in [start(records, tmp_path, 0.05, together) for _ in range(2)]:
        process.join(120)
        assert process.exitcode == 0
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]
    assert torch.equal(
        cached_pictures(records, SIZE, "none", tmp_path).images, load_pictures(records, SIZE, "none").images
    )


@pytest.mark.slow
def test_what_a_killed_process_leaves_is_not_used_and_goes(records: tuple[Record, ...], tmp_path: Path) -> None:
    alone = CONTEXT.Barrier(1)
    process = start(records, tmp_path, 30, alone)
    wait_for_part(tmp_path)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    (part,) = tmp_path.iterdir()
    images = load_pictures(records, SIZE, "none").images
    assert torch.equal(cached_pictures(records, SIZE, "none", tmp_path).images, images)
    assert part.exists()  # it could still be somebody's
    kept(tmp_path).unlink()
    os.utime(part, (0, 0))
    cached_pictures(records, SIZE, "none", tmp_path)
    assert list(tmp_path.iterdir()) == [kept(tmp_path)]


def test_a_folder_that_cannot_be_written_and_a_picture_that_is_gone_are_told(
    records: tuple[Record, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(MilrError, match=r"cannot keep pictures in .*file.*cache="):
        cached_pictures(records, SIZE, "none", tmp_path / "file" / "cache")
    with pytest.raises(MilrError, match=r"absent\.png cannot be read"):
        cached_pictures([replace(records[0], path=tmp_path / "absent.png")], SIZE, "none", tmp_path)
