"""A plain folder of classes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from disks import deny
from PIL import Image

from milr.data.endings import readable_endings
from milr.data.folder import read_folder
from milr.data.records import Catalogue
from milr.data.split import Split, of_split, split_of
from milr.errors import MilrError


def test_folders_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("wren, small", "auk", "empty"):
        (tmp_path / name).mkdir()
    for file in ("auk/2.PNG", "auk/1.jpg", "wren, small/a.jpeg"):
        Image.new("RGB", (4, 4)).save(tmp_path / file)
    (tmp_path / "auk" / "notes.txt").write_text("no picture")
    catalogue = read_folder(tmp_path)
    assert catalogue.class_names == {1: "auk", 2: "wren, small"}
    assert [record.path.name for record in catalogue.records] == ["1.jpg", "2.PNG", "a.jpeg"]
    assert [record.image_id for record in catalogue.records] == [1, 2, 3]


def test_a_folder_that_is_missing_or_without_pictures_is_told(tmp_path: Path) -> None:
    with pytest.raises(MilrError, match="there is no folder"):
        read_folder(tmp_path / "absent")
    with pytest.raises(MilrError, match="no folder with pictures"):
        read_folder(tmp_path)


def test_any_name_is_a_class_unless_no_table_could_hold_it(tmp_path: Path) -> None:
    names = ["Größe, Ж 鳥", "a  b;c", '$x$ "q"']
    for name in names:
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name / f"{name}.png")
    assert set(read_folder(tmp_path).class_names.values()) == set(names)
    try:
        os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    with pytest.raises(MilrError, match=r"no UTF-8: rename it"):
        read_folder(tmp_path)


def test_a_name_means_the_same_in_an_ascii_locale(tmp_path: Path) -> None:
    for name in ("Größe", "鳥"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name / "é.png")
    code = """
import sys
from pathlib import Path
from milr.data.folder import read_folder
from milr.data.catalogues import catalogue_sha256
catalogue = read_folder(Path(sys.argv[1]))
print(ascii(catalogue.class_names), catalogue_sha256(catalogue))
"""
    answers = [
        subprocess.run(
            [sys.executable, "-c", code, tmp_path],
            env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": utf8},
            capture_output=True,
            text=True,
            timeout=300,
        )
        for utf8 in "01"
    ]
    assert answers[0].stdout == answers[1].stdout != "", answers[0].stderr
    assert answers[0].stdout.startswith(ascii({1: "Größe", 2: "鳥"}))


def put(root: Path, *files: str) -> None:
    """Pictures under `root`; a name without a known ending becomes a PNG."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        kind = None if (root / file).suffix.lower() in readable_endings() else "PNG"
        Image.new("RGB", (4, 4)).save(root / file, format=kind)


def names(catalogue: Catalogue) -> dict[str, list[str]]:
    """Class -> its pictures below the root."""
    found: dict[str, list[str]] = {name: [] for name in catalogue.class_names.values()}
    for record in catalogue.records:
        found[record.class_name].append(record.path.relative_to(catalogue.root).as_posix())
    return found


def test_hidden_and_system_entries_change_nothing(tmp_path: Path) -> None:
    put(tmp_path, "auk/1.jpg", "auk/2.jpg", "wren/1.jpg")
    before = read_folder(tmp_path)
    put(tmp_path, *(f"{name}/9.jpg" for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git", "auk/@eaDir")))
    put(tmp_path, ".ipynb_checkpoints/auk/0.jpg", "auk/._1.jpg", "auk/.hidden.png")
    for name in (".DS_Store", "auk/Thumbs.db", "auk/desktop.ini", "auk/.DS_Store", "wren/THUMBS.DB"):
        (tmp_path / name).write_bytes(b"\xd0\xcf\x11\xe0")
    assert read_folder(tmp_path) == before and before.notes == ()


def test_classes_whose_names_are_nearly_one_are_told(tmp_path: Path) -> None:
    put(tmp_path, "auk/1.jpg", "Auk/1.jpg", "wren/1.jpg", "wren /1.jpg", "dove/1.jpg")
    catalogue = read_folder(tmp_path)
    assert len(catalogue.class_names) == 5
    assert catalogue.notes == (
        "classes whose names are nearly one: 'Auk' and 'auk', 'wren' and 'wren ': put their pictures together if they "
        "are one",
    )


def test_what_is_no_plain_file_is_no_picture_and_never_blocks(tmp_path: Path) -> None:
    put(tmp_path, "auk/1.jpg", "wren/1.jpg")
    before = read_folder(tmp_path)
    put(tmp_path, "auk/0.jpg/1.png", "dove.jpg/1.png")
    put(tmp_path.with_name(f"{tmp_path.name} elsewhere"), "1.jpg")
    (tmp_path / "auk" / "6.jpg").symlink_to(tmp_path.with_name(f"{tmp_path.name} elsewhere"))
    (tmp_path / "auk" / "more").symlink_to(tmp_path.with_name(f"{tmp_path.name} elsewhere"))
    (tmp_path / "auk" / "2.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "auk" / "3.jpg").symlink_to("3.jpg")
    (tmp_path / "auk" / "4.jpg").symlink_to(tmp_path / "wren")
    (tmp_path / "again").symlink_to(tmp_path / "auk")
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "auk" / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "auk" / "5.jpg")
    os.mkfifo(tmp_path / "auk" / "pipe")
    after = read_folder(tmp_path)
    assert after.records == before.records
    links = "3 link(s) that lead nowhere, 3 link(s) to folders that are there already, or lie in a class"
    assert after.notes == (f"left out: 4 folder(s) named like pictures, {links}",)


def test_links_to_pictures_and_to_a_class_elsewhere_are_followed(tmp_path: Path) -> None:
    put(tmp_path / "store", "a/1.jpg", "b/1.jpg")
    root = tmp_path / "chosen"
    (root / "auk").mkdir(parents=True)
    (root / "auk" / "1.jpg").symlink_to(tmp_path / "store" / "a" / "1.jpg")
    (root / "wren").symlink_to(tmp_path / "store" / "b")
    assert names(read_folder(root)) == {"auk": ["auk/1.jpg"], "wren": ["wren/1.jpg"]}


def test_what_pillow_reads_here_counts_and_the_rest_is_named_with_its_number(tmp_path: Path) -> None:
    read = ["auk/1.jfif", "auk/2.jpe", "auk/3.JPG_large", "auk/4", "auk/5.webp", "auk/6.jp2", "auk/7.txt", "wren/1.ppm"]
    put(tmp_path, *read)
    for name in ("auk/a.svg", "auk/b.SVG", "wren/c.nef", "auk/d.json", "auk/e.csv", "auk/f", "wren/g.npy"):
        (tmp_path / name).write_bytes(b"II*\0 or whatever text")
    put(tmp_path, "auk/1.jfif.part", "auk/2.jpe~")  # a half download, and what an editor saved aside
    catalogue = read_folder(tmp_path)
    assert [path for paths in names(catalogue).values() for path in paths] == read
    why = "which Pillow does not read here (convert them to PNG or JPEG)"
    (note,) = catalogue.notes
    assert note == f"left out: 1 file(s) of .nef, {why}, 2 file(s) of .svg, {why}, 6 file(s) that are no pictures"


def test_iphone_pictures_are_left_out_with_the_plugin_that_reads_them(tmp_path: Path) -> None:
    if ".heic" in readable_endings():
        pytest.skip("pillow-heif is installed")
    put(tmp_path, "auk/1.jpg", "wren/1.jpg")
    (tmp_path / "auk" / "2.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "coot").mkdir()
    (tmp_path / "coot" / "1.heic").write_bytes(b"\0\0\0\x18ftypheic")
    catalogue = read_folder(tmp_path)
    assert catalogue.class_names == {1: "auk", 3: "wren"}  # ids are the same where Pillow reads the coot
    assert "2 file(s) of .heic, which Pillow does not read here (pip install pillow-heif)" in catalogue.notes[0]


@pytest.mark.parametrize("parts", [("train", "val", "test"), ("Training", "VALIDATION", "testing"),
                                   ("meta-train", "meta_val", "novel"), ("training_set", "valid", "Test")])  # fmt: skip
def test_disjoint_classes_in_the_folders_of_a_split_are_split_by_them(parts: tuple[str, ...], tmp_path: Path) -> None:
    train, val, test = parts
    put(tmp_path, f"{train}/wren/1.jpg", f"{train}/auk/1.jpg", f"{val}/coot/1.jpg", f"{test}/dove/1.jpg")
    put(tmp_path, f"{train}/stray.jpg", f"{test}/images/1.jpg")
    (tmp_path / "annotations").mkdir()
    catalogue = read_folder(tmp_path)
    assert catalogue.class_names == {1: "auk", 2: "coot", 3: "dove", 4: "images", 5: "wren"}
    assert split_of(catalogue) == Split((1, 5), (2,), (3, 4))
    assert names(of_split(catalogue, "novel")) == {"dove": [f"{test}/dove/1.jpg"], "images": [f"{test}/images/1.jpg"]}
    assert catalogue.notes == (
        f"1 pictures in {tmp_path / train} lie in no class's folder: left out",
        f"the classes are split by the folders {', '.join(sorted(parts))}: train 2, validation 1, novel 2",
    )


def test_the_same_classes_in_train_and_val_are_put_together_and_split_by_id(tmp_path: Path) -> None:
    put(tmp_path, *(f"train/{name}/1.jpg" for name in "abcd"), *(f"val/{name}/2.jpg" for name in "abc"))
    put(tmp_path, "test/images/8.jpg", "test/images/9.jpg")
    catalogue = read_folder(tmp_path)
    assert names(catalogue) == {**{n: [f"train/{n}/1.jpg", f"val/{n}/2.jpg"] for n in "abc"}, "d": ["train/d/1.jpg"]}
    assert split_of(catalogue) == Split((1, 3), (2,), (4,))
    assert "2 pictures in" in catalogue.notes[0] and "3 of 4 are in more than one" in catalogue.notes[1]


def test_one_folder_of_pictures_within_each_class_is_the_class(tmp_path: Path) -> None:
    put(tmp_path, "train/n1/images/1.jpg", "train/n2/images/1.jpg", "val/images/1.jpg", "test/images/1.jpg")
    whole = read_folder(tmp_path)
    assert whole.notes[-1] == "the classes are those of the train folder alone: they are split by their ids"
    assert names(whole) == {"n1": ["train/n1/images/1.jpg"], "n2": ["train/n2/images/1.jpg"]}
    assert names(read_folder(tmp_path / "train")) == {"n1": ["n1/images/1.jpg"], "n2": ["n2/images/1.jpg"]}


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    put(tmp_path, "bus/1.jpg", "train/1.jpg", "tram/1.jpg")
    assert read_folder(tmp_path).class_names == {1: "bus", 2: "train", 3: "tram"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["auk/1.jpg", "auk/young/2.jpg", "wren/1.jpg"], r"auk holds 1 picture\(s\) beside folders .*\(young\)"),
        (
            ["dogs/pug/1.jpg", "dogs/dane/1.jpg", "cats/1.jpg"],
            r"dogs holds no picture .*root=\S+dogs; if they are of one class",
        ),
        (["data/auk/1.jpg", "data/wren/1.jpg"], r"\(auk, wren\): if these are the classes, take dataset.root=\S+data;"),
        (["train/a/1.jpg", "test/b/1.jpg", "masks/1.png"], r"masks hold pictures: take dataset.root=\S+train, or move"),
        (["train/1.jpg", "val/1.jpg"], r"train, val hold pictures and no folder for each class"),
        (
            ["train/images/1.jpg", "val/images/1.jpg"],
            r"no folder with pictures \(1 pictures in \S+train [^;]*; 1 pictures in \S+val [^;]*\): one",
        ),
        (["1.jpg", "2.jpg"], r"holds 2 picture\(s\) itself .*if it is one class of several, take dataset.root="),
    ],
)
def test_pictures_of_no_clear_class_are_refused_with_the_root_that_is_meant(
    files: list[str], message: str, tmp_path: Path
) -> None:
    put(tmp_path, *files)
    with pytest.raises(MilrError, match=message):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", [".", "auk", "wren/note"])
def test_what_may_not_be_read_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "auk/1.jpg", "wren/1.jpg")
    (tmp_path / "wren" / "note").write_text("a picture, who knows")
    deny(tmp_path / name, monkeypatch)
    with pytest.raises(MilrError, match=rf"^{re.escape(str(tmp_path / name))} cannot be read \(Permission denied\)"):
        read_folder(tmp_path)
