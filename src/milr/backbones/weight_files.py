"""Files of weights as people have them: what kind of file it is, and what it holds. Nothing in it is executed."""

from __future__ import annotations

import errno
import logging
import mmap
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from milr.errors import MilrError
from milr.files import BLOCK, lost_block, require_file
from milr.text import first_few

log = logging.getLogger("milr")

ENDINGS = (".pth", ".pt", ".safetensors", ".bin", ".ckpt", ".tar")
TORCH = "needed is what torch.save(network.state_dict(), file) writes, or safetensors"
LEGACY = rb"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\."  # how torch.save began before there were archives
TEXT = rb"(?:\xef\xbb\xbf)?\s*"
BEGINNINGS = (  # how what is no file of weights begins -> what it is, and what to do
    (rb"version https://git-lfs", "a Git LFS pointer, not the file itself: `git lfs pull` fetches it"),
    (rb"\x89HDF", f"an HDF5 file (Keras): {TORCH}"),
    (rb"\x93NUMPY", f"a NumPy array: {TORCH}"),
    (rb"\x1f\x8b", "packed with gzip: unpack it"),
    (rb"BZh", "packed with bzip2: unpack it"),
    (rb"\xfd7zXZ", "packed with xz: unpack it"),
    (rb"7z\xbc\xaf", "a 7z archive: unpack it"),
    (rb"Rar!", "a RAR archive: unpack it"),
    (rb"\x28\xb5\x2f\xfd", "packed with zstd: unpack it"),
    (rb"GGUF", f"a GGUF file: {TORCH}"),
    (rb"%PDF", "a PDF document"),
    (rb"\x89PNG|\xff\xd8\xff", "a picture"),
    (
        TEXT + rb"(?i:<(!doctype html|html|head|body|!--))",
        "a web page (HTML), as a download gives that failed or asks for a login: fetch the file itself",
    ),
    (
        TEXT + rb"<\?xml",
        "an XML document (of a download that was refused, or of another program): fetch the weights themselves",
    ),
    (rb"\x08[\x01-\x20][\x12\x1a]", f"an ONNX graph: {TORCH}"),  # a protobuf: its version, then what wrote it
    (
        rb"(?!" + LEGACY + rb")\x80",
        f"a Python pickle, which cannot be read as weights without running what stands in it: {TORCH}",
    ),
    (rb"(?s:.{257})ustar", "a tar archive: unpack it, and name the file of weights"),
    (rb"(?s:.{4})TFL3", f"a TensorFlow Lite model: {TORCH}"),
)
OWN = {  # kinds of milr's own checkpoints, and where each belongs
    "protonet": "later stages go on from it with source=<its run folder>; as first weights of another training it "
    "would hide which classes the network has seen",
    "milr": "it holds a fitted MI-LR module and no network: `milr visualize source=<its run folder>` goes on from it",
    "state": "it is an unfinished run's, which resume=<its run folder> goes on with",
}


def read_weight_file(path: Path) -> Any:
    """What the file holds: a dictionary of tensors, at any depth. MilrError that names what else it is."""
    where = f"backbone.weights={path}"
    head = first_bytes(path, where)
    kind = kind_of_head(path, head)
    if kind:
        raise MilrError(f"{where} is {kind}")
    if not head.startswith(b"PK"):  # archives have checksums
        tell_lost_block(path, where)
    content = read_safetensors(path, where) if is_safetensors(path, head) else read_torch(path, where)
    kind = content.get("kind") if isinstance(content, dict) else None
    if isinstance(kind, str) and kind in OWN:
        raise MilrError(f"{where} is a checkpoint of milr's own (of kind {kind!r}): {OWN[kind]}")
    return content


def tell_lost_block(path: Path, where: str) -> None:
    """A warning for a file in which a block is zeros: some weights are lost then."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place = lost_block(data)
    if place is not None:
        log.warning(
            "%s: from byte %d on %d or more are zeros, as where a block of a copy is lost: fetch it again",
            where,
            place,
            BLOCK,
        )


def first_bytes(path: Path, where: str) -> bytes:
    """The beginning of the file. MilrError if there is none, or it is a folder, empty, or may not be read."""
    try:
        if path.is_dir():
            inside = sorted(entry.name for entry in path.iterdir() if entry.name.endswith(ENDINGS))
            end = f": name the file in it ({', '.join(inside[:3])})" if inside else ", without a file of weights in it"
            raise MilrError(f"{where} is a folder{end}")
        require_file(path, where)
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise MilrError(f"{where}: there is no such file (or one of: none, imagenet)") from error
        raise MilrError(f"{where} cannot be read: {error.strerror}") from error
    if not head.strip(b"\0"):
        raise MilrError(f"{where} is {'an empty file' if not head else 'filled with zeros'}: fetch it again")
    return head


def kind_of_head(path: Path, head: bytes) -> str | None:
    """What the file is where its first bytes (or an archive's list) say that it holds no weights of torch's."""
    if head.startswith(b"PK"):
        return kind_of_archive(path)
    if path.suffix == ".onnx":
        return f"an ONNX graph: {TORCH}"
    kind = next((kind for beginning, kind in BEGINNINGS if re.match(beginning, head)), None)
    if kind is None and re.fullmatch(rb"[\t\n\r\x20-\x7e]+", head):
        return f"a text file that begins with {head.lstrip()[:40].decode().splitlines()[0]!r}: {TORCH}"
    return kind


def kind_of_archive(path: Path) -> str | None:
    """What a zip archive is, unless it is one of torch.save's."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            damaged = archive.testzip()  # torch itself reads on over a changed byte
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError):  # the latter: packed or locked unusually
        return "cut off or damaged (the archive's list or a part cannot be read): fetch it again"
    if damaged:
        return f"damaged (the checksum of {damaged} differs): fetch it again"
    last = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in last or any("/code/" in name for name in names):
        return f"a TorchScript archive, which holds code: save torch.jit.load(file).state_dict(); {TORCH}"
    if any(name.endswith(("serialized_exported_program.json", "models/model.json")) for name in names):
        return f"a program of torch.export: save torch.export.load(file).state_dict; {TORCH}"
    if "data.pkl" in last:
        return None
    if names and all(name.endswith(".npy") for name in names):
        return f"an archive of NumPy arrays (.npz): {TORCH}"
    if "model.weights.h5" in last:
        return f"a Keras model: {TORCH}"
    shown = first_few(names)
    return f"a zip archive (of {shown or 'nothing'}): unpack it, and name the file of weights"


def is_safetensors(path: Path, head: bytes) -> bool:
    """Whether it begins as safetensors do: the length of a header, and that header in JSON."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000


def read_safetensors(path: Path, where: str) -> Any:
    """The tensors of a safetensors file."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MilrError(
            f"{where} is a safetensors file, which needs a package: pip install 'milr[safetensors]'"
        ) from error
    try:
        return load_file(os.fspath(path))
    except SafetensorError as error:
        raise MilrError(
            f"{where} is a safetensors file that is cut off or damaged ({error}): fetch it again"
        ) from error


def read_torch(path: Path, where: str) -> Any:
    """What torch.save wrote. Errors: MilrError that says whether it is damaged, or holds more than tensors."""
    try:
        with path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError as error:
        raise MilrError(f"{where} needs more memory than there is") from error
    except Exception as error:  # torch raises many kinds for a broken file
        raise MilrError(f"{where} {refused(path, str(error), type(error).__name__)}") from error


def refused(path: Path, reason: str, error: str) -> str:
    """Why torch.load does not give the content."""
    objects = re.search(r"(?:GLOBAL|Unsupported class) ([\w.]+)", reason)
    if objects:
        return (
            f"holds Python objects and not tensors alone ({objects[1]}), as a whole pickled network or a training's "
            "checkpoint does: they could run code, so it is not read. If you trust it, torch.load(file, "
            "weights_only=False) it yourself, and torch.save the state_dict of the network, as tensors"
        )
    if zipfile.is_zipfile(path) or "unexpected EOF" in reason or error == "EOFError":
        return f"is cut off or damaged ({error}): fetch it again"
    return f"cannot be read as weights ({error}): {TORCH}"
