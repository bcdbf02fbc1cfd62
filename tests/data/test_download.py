"""Downloads against a server on the loopback: whole, broken off and resumed, wrong; and archives that mean harm."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from disks import deny, full_after

from milr.data import download
from milr.data.download import Archive, extract, fetch
from milr.errors import MilrError


def tar(*members: tuple[str, bytes]) -> bytes:
    """A tar.gz with these files."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return memory.getvalue()


CONTENT = tar(("CUB_200_2011/images.txt", b"1 a.jpg\n"), ("CUB_200_2011/images/a.jpg", bytes(range(256)) * 400))
RIGHT = Archive("birds.tgz", len(CONTENT), hashlib.md5(CONTENT).hexdigest())


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `cut` bytes of it at first, `ranges` as told; notes the ranges it was asked for."""

    cut: int | None = None
    ranges = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/birds.tgz"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.server.cut is None else body[: self.server.cut])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = Thread(target=running.serve_forever, args=[0.01], daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_fetched_verified_and_unpacked(server: Server, tmp_path: Path) -> None:
    fetch(RIGHT, server.address, tmp_path / "data" / "cub", "CUB_200_2011")
    assert (tmp_path / "data" / "cub" / "images.txt").read_text() == "1 a.jpg\n"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cub"]  # no archive and no half of anything


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.cut, server.ranges = 300, ranges
    with pytest.raises(MilrError, match=r"birds\.tgz (broke off|cannot be downloaded)"):
        fetch(RIGHT, server.address, tmp_path / "cub", "CUB_200_2011")
    assert (tmp_path / "birds.tgz.part").stat().st_size == 300 and not (tmp_path / "cub").exists()
    server.cut = None
    fetch(RIGHT, server.address, tmp_path / "cub", "CUB_200_2011")
    assert server.asked == [None, "bytes=300-"] and (tmp_path / "cub" / "images" / "a.jpg").stat().st_size == 102_400


@pytest.mark.parametrize("wrong", [Archive("birds.tgz", len(CONTENT), "0" * 32), Archive("birds.tgz", 200, RIGHT.md5)])
def test_another_file_than_expected_is_removed(server: Server, tmp_path: Path, wrong: Archive) -> None:
    with pytest.raises(MilrError, match="not the file that was expected"):
        fetch(wrong, server.address, tmp_path / "cub", "CUB_200_2011")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_was_there_is_verified_used_and_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "birds.tgz").write_bytes(CONTENT)
    fetch(RIGHT, server.address, tmp_path / "cub", "CUB_200_2011")
    assert server.asked == [] and (tmp_path / "birds.tgz").read_bytes() == CONTENT
    assert (tmp_path / "cub" / "images.txt").read_text() == "1 a.jpg\n"


@pytest.mark.parametrize(
    "found",
    [CONTENT[:-1], CONTENT[:-1] + b"x", CONTENT + b"x", b""],
    ids=["shorter", "changed", "longer", "empty"],  # an archive's bytes hold the time: no name for a test
)
def test_a_wrong_file_under_the_archives_name_is_named_and_left(server: Server, tmp_path: Path, found: bytes) -> None:
    file = tmp_path / "birds.tgz"
    file.write_bytes(found)
    with pytest.raises(MilrError, match=r"birds\.tgz was there before and is not the archive .*left as it is; move it"):
        fetch(RIGHT, server.address, tmp_path / "cub", "CUB_200_2011")
    assert file.read_bytes() == found and server.asked == [] and not (tmp_path / "cub").exists()


def test_a_link_to_nothing_under_the_archives_name_is_left(server: Server, tmp_path: Path) -> None:
    (tmp_path / "birds.tgz").symlink_to("elsewhere")
    with pytest.raises(MilrError, match=r"was there before .*no file instead of"):
        fetch(RIGHT, server.address, tmp_path / "cub", "CUB_200_2011")
    assert (tmp_path / "birds.tgz").is_symlink() and server.asked == []


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_stands_at_the_data_sets_place_is_left_before_anything_is_downloaded(
    server: Server, tmp_path: Path, kind: str
) -> None:
    root = tmp_path / "cub"
    if kind == "folder":
        root.mkdir()
        (root / "mine.txt").write_text("mine")
    elif kind == "file":
        root.write_text("mine")
    else:
        root.symlink_to("elsewhere")
    with pytest.raises(MilrError, match="cub exists already: move it away first"):
        fetch(RIGHT, server.address, root, "CUB_200_2011")
    assert server.asked == [] and [path.name for path in tmp_path.iterdir()] == ["cub"]


def test_a_folder_that_may_not_be_written_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deny(tmp_path / "birds.tgz.part", monkeypatch)
    with pytest.raises(MilrError, match=r"cannot write \S+\.tgz\.part \(Permission denied\): name another"):
        fetch(RIGHT, server.address, tmp_path / "cub", "CUB_200_2011")


def test_an_empty_folder_at_its_place_is_filled(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cub").mkdir()
    fetch(RIGHT, server.address, tmp_path / "cub", "CUB_200_2011")
    assert (tmp_path / "cub" / "images.txt").is_file()


def test_a_part_that_this_run_did_not_begin_is_never_deleted(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "birds.tgz.part"
    for content in (bytes(len(CONTENT)), bytes(len(CONTENT) + 5), b"mine"):
        part.write_bytes(content)
        with pytest.raises(MilrError, match=r"birds\.tgz\.part, which an earlier try .*move it away"):
            fetch(RIGHT, server.address, tmp_path / "cub", "CUB_200_2011")
        assert part.read_bytes() == content
    assert server.asked == ["bytes=4-"]


def test_no_server_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(MilrError, match="cannot be downloaded"):
        fetch(RIGHT, "http://127.0.0.1:9/birds.tgz", tmp_path / "cub", "CUB_200_2011")


def special(name: str, kind: bytes, target: str = "") -> bytes:
    """An archive with one member that is no plain file."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        archive.addfile(info)
    return memory.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        tar(("CUB/a", b"good"), ("../escaped", b"bad")),
        tar(("CUB/a", b"good"), ("/tmp/escaped", b"bad")),
        special("CUB/link", tarfile.SYMTYPE, "/etc/passwd"),
        special("CUB/link", tarfile.LNKTYPE, "../../etc/passwd"),
        special("CUB/device", tarfile.CHRTYPE),
        special("CUB/device", tarfile.BLKTYPE),
        special("CUB/pipe", tarfile.FIFOTYPE),
        tar(("CUB/a/../../../escaped", b"bad")),
    ],
    ids=["above", "absolute", "link", "hard_link", "characters", "blocks", "pipe", "within"],  # no time in them
)
def test_members_that_mean_harm_are_refused_before_anything_is_written(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.tgz").write_bytes(content)
    with pytest.raises(MilrError, match="nothing was unpacked"):
        extract(tmp_path / "bad.tgz", tmp_path / "cub", "CUB")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.tgz"]


def test_a_bomb_a_broken_archive_and_a_strange_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(CONTENT)
    with pytest.raises(MilrError, match="more than 1,000"):
        extract(tmp_path / "a.tgz", tmp_path / "cub", "CUB_200_2011", largest=1000)
    with pytest.raises(MilrError, match="holds no folder other"):
        extract(tmp_path / "a.tgz", tmp_path / "cub", "other")
    (tmp_path / "a.tgz").write_bytes(CONTENT[:-200])
    with pytest.raises(MilrError, match="cannot be unpacked"):
        extract(tmp_path / "a.tgz", tmp_path / "cub", "CUB_200_2011")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tgz"]


def test_a_bomb_is_refused_by_its_header_before_its_content_is_unpacked(tmp_path: Path) -> None:
    info = tarfile.TarInfo("CUB/bomb")
    info.size = 1 << 42  # what follows is not even there
    (tmp_path / "bomb.tgz").write_bytes(gzip.compress(info.tobuf()))
    with pytest.raises(
        MilrError, match=r"would unpack to 4,398,046,511,104 bytes in 1 files, more than .*nothing was unpacked"
    ):
        extract(tmp_path / "bomb.tgz", tmp_path / "cub", "CUB")
    assert [path.name for path in tmp_path.iterdir()] == ["bomb.tgz"]


def test_more_files_than_a_data_set_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MOST_MEMBERS", 3)
    (tmp_path / "many.tgz").write_bytes(tar(*((f"CUB/{number}", b"") for number in range(5))))
    with pytest.raises(MilrError, match=r"in 4 files, more than .*nothing was unpacked"):
        extract(tmp_path / "many.tgz", tmp_path / "cub", "CUB")
    assert [path.name for path in tmp_path.iterdir()] == ["many.tgz"]


def test_a_full_disk_leaves_no_half_of_an_archive(tmp_path: Path) -> None:
    noise = random.Random(0).randbytes(200_000)
    (tmp_path / "a.tgz").write_bytes(tar(("CUB/first", b"good"), ("CUB/second", noise)))
    with full_after(100_000), pytest.raises(MilrError, match=r"cannot be unpacked .*File too large"):
        extract(tmp_path / "a.tgz", tmp_path / "cub", "CUB")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tgz"]


def test_the_facts_about_the_official_archives() -> None:
    assert download.IMAGES.size == 1_150_585_339 and download.SEGMENTATIONS.size == 39_272_883
    assert len(download.IMAGES.md5) == len(download.SEGMENTATIONS.md5) == 32
