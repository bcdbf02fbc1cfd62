"""A plain folder of classes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from milr.data.folder import read_folder
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
from milr.stages.catalogues import fingerprint
catalogue = read_folder(Path(sys.argv[1]))
print(ascii(catalogue.class_names), fingerprint(catalogue))
"""
    answers = [
        subprocess.run(
            [sys.executable, "-c", code, tmp_path],
            env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": utf8},
            capture_output=True,
            text=True,
            timeout=60,
        )
        for utf8 in "01"
    ]
    assert answers[0].stdout == answers[1].stdout != "", answers[0].stderr
    assert answers[0].stdout.startswith(ascii({1: "Größe", 2: "鳥"}))
