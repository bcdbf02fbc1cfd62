"""CUB-200-2011 from its archives: downloaded in as many tries as it takes, verified, and unpacked safely.

Not by pooch: its downloaders open the file anew (`w+b`) and ask for no range, so that a break near the end of 1.1 GB
would begin all of it again.
"""

from __future__ import annotations

import http.client
import os
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from milr.bars import bar
from milr.data.access import readable
from milr.errors import MilrError
from milr.files import digest_of

BLOCK = 1 << 20
LARGEST = 8 << 30  # bytes that an archive may unpack to; both of CUB's stay under 2 GB
MOST_MEMBERS = 100_000  # files and folders of an archive; CUB's have some 12,000


@dataclass(frozen=True)
class Archive:
    """One archive as CaltechDATA's record of CUB-200-2011 gives it."""

    name: str
    size: int  # bytes
    md5: str  # against damage, not against malice


IMAGES = Archive("CUB_200_2011.tgz", 1_150_585_339, "97eceeb196236b17998738112f37df78")
SEGMENTATIONS = Archive("segmentations.tgz", 39_272_883, "4d47ba1228eae64f2fa547c47bc65255")


def fetch(archive: Archive, address: str, root: Path, unpacked: str) -> None:
    """Puts the folder `unpacked` of the archive at `address` to `root`; an archive that it downloaded goes afterwards.

    One that lies there already is verified, used, and stays. MilrError for anything that goes wrong, before anything
    is downloaded where that can be known; what was downloaded so far stays in `<archive>.part` for the next try.
    """
    file = root.parent / archive.name
    require_free(root)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise MilrError(f"cannot make the folder {root.parent} ({reason}): name another dataset.root=") from error
    own = not os.path.lexists(file)
    if own:
        download(address, file, archive)
    else:
        require_archive(file, archive)
    extract(file, root, unpacked)
    if own:
        file.unlink()


def require_free(root: Path) -> None:
    """MilrError if something other than an empty folder stands where a data set is to be unpacked to."""
    if os.path.lexists(root) and not is_empty_folder(root):
        raise MilrError(f"{root} exists already: move it away first")


def is_empty_folder(path: Path) -> bool:
    """Whether this is a folder, itself and no link to one, with nothing in it."""
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def require_archive(file: Path, archive: Archive) -> None:
    """MilrError if a file that was there before is not the archive; it is left as it is."""
    with readable(file):
        size = file.stat().st_size if file.is_file() else -1
        md5 = digest_of(file, "md5") if size == archive.size else ""
    if md5 != archive.md5:
        actual = f"md5 {md5}" if md5 else f"{size:,} bytes" if size >= 0 else "no file"
        raise MilrError(
            f"{file} was there before and is not the archive that is needed ({actual} instead of {archive.size:,} "
            f"bytes, md5 {archive.md5}): it was left as it is; move it away, and the archive is downloaded"
        )


def download(address: str, target: Path, archive: Archive) -> None:
    """Downloads to `target`, going on from where an earlier try broke off; `target` exists only once it is verified."""
    part = target.with_name(target.name + ".part")
    if os.path.lexists(part) and not part.is_file():
        raise MilrError(f"{part} is in the way and no file: move it away")
    before = os.path.lexists(part)
    there = part.stat().st_size if before else 0
    if there < archive.size:
        _transfer(address, part, there, archive)
    size = part.stat().st_size
    if size < archive.size:
        raise MilrError(f"{address} broke off at {size:,} of {archive.size:,} bytes: run it again to go on from there")
    if size > archive.size or digest_of(part, "md5") != archive.md5:
        if before:
            os.truncate(part, there)  # as it was
            raise MilrError(
                f"{part}, which an earlier try or somebody else left, is not the beginning of {address}: move it away, "
                "and the download begins anew"
            )
        part.unlink()
        raise MilrError(
            f"{address} is not the file that was expected ({archive.size:,} bytes, md5 {archive.md5}): removed"
        )
    os.replace(part, target)


def _transfer(address: str, part: Path, there: int, archive: Archive) -> None:
    request = urllib.request.Request(address, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            if answer.status != 206:
                there = 0  # a server that knows no ranges sends everything again
            shown = bar(total=archive.size, initial=there, unit="B", unit_scale=True, desc=archive.name)
            with part.open("ab" if there else "wb") as file, shown:
                # One block more than expected is enough to see that a file is too large.
                while there <= archive.size and (block := answer.read(BLOCK)):
                    file.write(block)
                    there += len(block)
                    shown.update(len(block))
    except PermissionError as error:
        raise MilrError(f"cannot write {part} ({error.strerror}): name another dataset.root=") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise MilrError(f"{address} cannot be downloaded ({reason}); run it again to go on where it stopped") from error


def extract(archive: Path, root: Path, unpacked: str, largest: int = LARGEST) -> None:
    """Unpacks the folder `unpacked` of a tar archive to `root`, beside it first, so that a half of it is never there.

    MilrError, before anything is written, for a member that would land elsewhere, a link, a device, a size beyond
    `largest`; and for an archive that is broken or holds no such folder.
    """
    require_free(root)
    try:
        with (
            TemporaryDirectory(prefix=f".{root.name}.", dir=root.parent, ignore_cleanup_errors=True) as making,
            tarfile.open(archive) as tar,
        ):
            tar.extractall(making, members=checked_members(tar, archive, largest), filter="data")
            if not (folder := Path(making, unpacked)).is_dir():
                raise MilrError(f"{archive} holds no folder {unpacked}")
            require_free(root)
            os.rename(folder, root)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise MilrError(f"{archive} cannot be unpacked to {root} ({error})") from error


def checked_members(tar: tarfile.TarFile, archive: Path, largest: int) -> list[tarfile.TarInfo]:
    """All members, if each is a plain file or folder below the archive's own; MilrError for the first that is not.

    Each is looked at before its content is unpacked, so that a bomb ends here and not in hours of unpacking.
    """
    members: list[tarfile.TarInfo] = []
    size = 0
    for member in tar:
        path = Path(member.name)
        if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
            raise MilrError(
                f"{archive} holds '{member.name}', which would not land in its folder: nothing was unpacked"
            )
        size += member.size
        members.append(member)
        if size > largest or len(members) > MOST_MEMBERS:
            raise MilrError(
                f"{archive} would unpack to {size:,} bytes in {len(members):,} files, more than {largest:,} bytes "
                f"or {MOST_MEMBERS:,} files: nothing was unpacked"
            )
    return members
