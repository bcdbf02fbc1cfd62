"""The official layout: read as it is, tolerant of harmless differences, clear about the rest."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from disks import deny
from hypothesis import given
from hypothesis import strategies as st

from milr.data.cub import read_box, read_cub, read_file, read_id, read_rows
from milr.data.framing import frame
from milr.data.records import Catalogue
from milr.data.split import split_classes
from milr.errors import MilrError


@pytest.fixture
def root(birds: Catalogue, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(birds.root, tmp_path / "cub"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_everything_in_the_index_is_read(birds: Catalogue) -> None:
    catalogue = read_cub(birds.root)
    assert len(catalogue.records) == 96 and len(catalogue.class_names) == 12
    assert len({part for record in catalogue.records for part in record.parts}) == 15
    record = catalogue.records[10]
    assert record.image_id == 11 and record.class_id == 2 and record.class_name.startswith("002.")
    assert record.box is not None and record.path.is_file() and record.segmentation is not None
    assert {"crown", "beak", "tail"} <= set(record.parts) | {"tail"}


def test_the_folder_above_the_index_may_be_named(root: Path) -> None:
    root.rename(root.parent / "CUB_200_2011")
    assert len(read_cub(root.parent).records) == 96


def test_parts_and_segmentations_may_be_absent(root: Path) -> None:
    shutil.rmtree(root / "parts")
    shutil.rmtree(root / "segmentations")
    record = read_cub(root).records[0]
    assert record.parts == {} and record.segmentation is None


def test_invisible_parts_are_left_out(birds: Catalogue) -> None:
    for record in read_cub(birds.root).records:
        assert not {"left eye", "right eye"} <= set(record.parts)


def test_line_ends_byte_order_marks_and_blank_lines_do_not_matter(root: Path) -> None:
    before = read_cub(root)
    for name in ("images.txt", "classes.txt", "bounding_boxes.txt", "image_class_labels.txt", "parts/part_locs.txt"):
        text = (root / name).read_text()
        (root / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    assert read_cub(root) == before


def test_a_missing_picture_is_named(root: Path) -> None:
    read_cub(root).records[5].path.unlink()
    with pytest.raises(MilrError, match=r"images\.txt names .*_0006\.png, which is not there \(1 of 96"):
        read_cub(root)


@pytest.mark.parametrize(
    "write", [str.upper, lambda file: f"images/{file}", lambda file: file.replace("/", "\\"), '"{}"'.format]
)
def test_a_picture_that_is_called_otherwise_is_named(root: Path, write: Callable[[str], str]) -> None:
    file = read_cub(root).records[0].path.relative_to(root / "images").as_posix()
    edit(root / "images.txt", f"1 {file}", f"1 {write(file)}")
    with pytest.raises(
        MilrError, match=rf"which is not there \(1 of 96 pictures missing\), but {file} is: write it as"
    ):
        read_cub(root)


def test_a_picture_whose_accents_are_encoded_otherwise_is_named(root: Path) -> None:
    path = read_cub(root).records[0].path
    file = path.rename(path.with_name("ste\u0301rne.png")).relative_to(root / "images").as_posix()
    edit(root / "images.txt", path.name, "st\u00e9rne.png")
    with pytest.raises(MilrError, match=rf"but {file} is: write it .* with its accents encoded as in the file's name"):
        read_cub(root)


def test_what_is_half_there_is_a_note(root: Path) -> None:
    assert read_cub(root).notes == ()
    mask = read_cub(root).records[0].segmentation
    assert mask
    mask.unlink()
    (root / "parts" / "parts.txt").unlink()
    (root / "bounding_boxes.txt").unlink()
    catalogue = read_cub(root)
    assert not any(record.parts for record in catalogue.records)
    assert catalogue.notes == (
        f"{root / 'bounding_boxes.txt'} is missing: no picture has a box",
        f"{root / 'parts' / 'parts.txt'} is missing: no picture has parts",
        f"1 of 96 pictures have no mask in {root / 'segmentations'}, {mask.parent.name}/{mask.name} first",
    )


@pytest.mark.parametrize("name", ["classes.txt", "image_class_labels.txt"])
def test_a_missing_file_is_named(root: Path, name: str) -> None:
    (root / name).unlink()
    with pytest.raises(MilrError, match=rf"{name} is missing"):
        read_cub(root)


def test_without_boxes_and_part_names_the_pictures_are_read_and_the_lack_is_said(root: Path) -> None:
    whole = read_cub(root)
    (root / "bounding_boxes.txt").unlink()
    (root / "parts" / "parts.txt").unlink()
    catalogue = read_cub(root)
    assert [r.path for r in catalogue.records] == [r.path for r in whole.records]
    assert all(r.box is None and r.parts == {} for r in catalogue.records)
    assert catalogue.notes == (
        f"{root / 'bounding_boxes.txt'} is missing: no picture has a box",
        f"{root / 'parts' / 'parts.txt'} is missing: no picture has parts",
    )
    assert whole.notes == ()


@pytest.mark.parametrize("given", [".", "CUB_200_2011", "CUB_200_2011/images"])
def test_a_root_a_level_too_high_or_its_images_are_understood(root: Path, given: str) -> None:
    root.rename(root.parent / "CUB_200_2011")
    catalogue = read_cub(root.parent / given)
    assert len(catalogue.records) == 96 and catalogue.root == root.parent / "CUB_200_2011"


@pytest.mark.parametrize("given", ["cub/parts", "cub/images/{first}", "."])
def test_the_right_root_is_named_where_it_lies_near(root: Path, given: str) -> None:
    first = read_cub(root).records[0].class_name
    with pytest.raises(MilrError, match=rf"images\.txt lies in {re.escape(str(root))}: take dataset\.root="):
        read_cub(root.parent / given.format(first=first))


def test_the_remedy_for_a_partial_data_set_is_to_move_it_away(root: Path) -> None:
    (root / "classes.txt").unlink()
    with pytest.raises(MilrError, match=rf"incomplete; move {re.escape(str(root))} away, and `milr data dataset=cub"):
        read_cub(root)


@pytest.mark.parametrize("name", ["images.txt", "parts/part_locs.txt", "images"])
def test_what_may_not_be_read_is_named(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = root / name
    if name == "images":
        place = read_cub(root).records[0].path.parent
    deny(place, monkeypatch)
    with pytest.raises(MilrError, match=rf"^{re.escape(str(place))} cannot be read \(Permission denied\): give"):
        read_cub(root)


def test_a_folder_without_the_data_set_is_told_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MilrError, match="milr data dataset=cub"):
        read_cub(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("image_class_labels.txt", "\n3 1\n", "\n3 one\n", r"image_class_labels\.txt:3: cannot read '3 one'"),
        ("image_class_labels.txt", "\n3 1\n", "\n2 1\n", r"image_class_labels\.txt:3: id 2 appears twice"),
        ("image_class_labels.txt", "\n3 1\n", "\n", r"image_class_labels\.txt has no row for id 3 \(1 missing\)"),
        ("image_class_labels.txt", "\n3 1\n", "\n3 77\n", r"classes\.txt has no row for id 77"),
        ("bounding_boxes.txt", "\n2 ", "\n2 x ", r"bounding_boxes\.txt:2: cannot read"),
        ("parts/part_locs.txt", "1 1 ", "1 99 ", r"parts\.txt has no row for id 99 \(1 missing\)"),
        ("image_class_labels.txt", "\n3 1\n", "\n3 1 1\n", r"image_class_labels\.txt:3: cannot read '3 1 1'"),
        ("image_class_labels.txt", "\n3 1\n", "\n3 1_0\n", r"image_class_labels\.txt:3: cannot read '3 1_0'"),
        ("image_class_labels.txt", "\n3 1\n", "\n3 0\n", r"'0' is no whole number from 1"),
        ("image_class_labels.txt", "\n3 1\n", "\n3 1\n997 1\n", r"images\.txt has no row for id 997"),
        ("images.txt", "\n2 ", "\n2 /", r"images\.txt:2: cannot read .*below images/"),
        ("images.txt", "\n2 ", "\n2 ../", r"images\.txt:2: cannot read .*below images/"),
        ("images.txt", "\n2 ", "\n2\n200 ", r"images\.txt:2: cannot read '2' \(a value is missing\)"),
        ("images.txt", "\n2 ", "\n1 ", r"images\.txt:2: id 1 appears twice"),
        ("bounding_boxes.txt", "\n2 ", "\n2 nan ", r"bounding_boxes\.txt:2: cannot read"),
        ("parts/part_locs.txt", "1 1 ", "one 1 ", r"part_locs\.txt:1: cannot read"),
        ("parts/part_locs.txt", "\n1 2 ", "\n1 1 ", r"part_locs\.txt:2: part 1 of image 1 appears twice"),
        ("parts/part_locs.txt", "\n1 3 ", "\n999 3 ", r"part_locs\.txt has no row for part 3 of image 1 \(1 missing\)"),
        ("parts/parts.txt", "1 back", "1", r"parts\.txt:1: cannot read '1'"),
        ("classes.txt", "\n2 ", "\nii ", r"classes\.txt:2: cannot read"),
        ("image_class_labels.txt", "\n3 1\n", "\n3 2\n", r"says class 2 of image 3, 001\..*\(1 of 96 pictures lie in"),
        ("parts/part_locs.txt", " 1\n", " 2\n", r"part_locs\.txt:1: .*visible, is 0 or 1"),
        ("parts/parts.txt", "2 beak", "2 back", r"parts\.txt: ids 1 and 2 are both back"),
        ("image_class_labels.txt", "\n3 1\n", f"\n3 {'9' * 20}\n", r"'9{20}' is no whole number from 1"),
        ("image_class_labels.txt", "\n3 1\n", f"\n3 {'9' * 5000}\n", r"labels\.txt:3: cannot read '3 9{85}\.\.\.'"),
        ("image_class_labels.txt", "\n3 1\n", "\r3 1\r", r"labels\.txt:2: cannot read '2 1\\r3 1\\r4 1' \('1"),
    ],
)
def test_a_spoiled_line_is_named(root: Path, name: str, old: str, new: str, message: str) -> None:
    edit(root / name, old, new)
    with pytest.raises(MilrError, match=message):
        read_cub(root)


@pytest.mark.parametrize(("name", "value"), [("images.txt", "./{}"), ("classes.txt", "{}")])
def test_one_picture_or_class_under_two_ids_is_named(root: Path, name: str, value: str) -> None:
    first, _, *rest = (root / name).read_text().splitlines()
    (root / name).write_text("\n".join([first, "2 " + value.format(first.split()[1]), *rest]))
    with pytest.raises(MilrError, match=rf"{name}: ids 1 and 2 are both 001\."):
        read_cub(root)


@pytest.mark.parametrize("box", ["nan 1 5 5", "1 inf 5 5", "1 1 5", "1 1 5 5 5", "1 1 0 5", "1 1 5 -5", "1 1 5 5_0"])
def test_a_box_is_four_finite_numbers_with_an_area(root: Path, box: str) -> None:
    lines = (root / "bounding_boxes.txt").read_text().splitlines()
    (root / "bounding_boxes.txt").write_text("\n".join([lines[0], f"2 {box}", *lines[2:]]))
    with pytest.raises(MilrError, match=rf"bounding_boxes\.txt:2: cannot read '2 {box}'"):
        read_cub(root)


def test_bytes_that_are_no_utf_8_are_named_with_their_line(root: Path) -> None:
    content = (root / "classes.txt").read_bytes().split(b"\n")
    (root / "classes.txt").write_bytes(b"\n".join([content[0], content[1] + b"\xff", *content[2:]]))
    with pytest.raises(MilrError, match=r"classes\.txt:2: no UTF-8"):
        read_cub(root)


def test_any_name_that_a_file_can_have_is_read(root: Path) -> None:
    record = read_cub(root).records[0]
    names = ["a  b, c.png", "Größe\u2028\x0b\xa0Ж.png", "-1 $x$ 'q'\".png"]
    for name in names:
        (root / "images" / record.class_name / name).write_bytes(record.path.read_bytes())
        for number, (file, row) in enumerate(
            [
                ("images.txt", f"{record.class_name}/{name}"),
                ("image_class_labels.txt", "1"),
                ("bounding_boxes.txt", "0 0 9 9"),
            ]
        ):
            with (root / file).open("a", encoding="utf-8", newline="") as index:
                index.write(f"{500 + names.index(name)} {row}" + ("\r\n" if number else "\n"))
        with (root / "parts" / "part_locs.txt").open("a") as index:
            index.writelines(f"{500 + names.index(name)} {part} 0 0 0\n" for part in range(1, 16))
    edit(root / "classes.txt", f"1 {record.class_name}", "1 001.A, b  ñ")
    catalogue = read_cub(root)
    assert [r.path.name for r in catalogue.records[-3:]] == names
    assert catalogue.records[0].class_name == "001.A, b  ñ"


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\t\0 "), min_size=1)


@given(st.dictionaries(st.integers(1, 10**9), NAMES), st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n", "\n \r\n"]))
def test_rows_come_back_whatever_their_line_ends(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[int, str], mark: bool, end: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.txt"
    text = "".join(f"{key} {value}{end}" for key, value in rows.items())
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + text.encode())
    assert read_rows(path, str) == rows


@given(st.one_of(st.binary(), st.text("0123456789 .-+_einfa\n\r\t", max_size=60).map(str.encode)))
def test_any_content_is_read_or_refused_with_file_and_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(content)
    for value in (str, read_id, read_file, read_box):
        try:
            rows = read_rows(path, value)
        except MilrError as error:
            assert re.match(rf"{re.escape(str(path))}:[0-9]+: ", str(error))
        else:
            assert len(rows) == sum(
                bool(line.strip(b" \r\t")) for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
            )


def test_the_photographs_at_hand(shared: Path) -> None:
    crops = read_cub(shared / "cub-crops")
    split = split_classes(crops.class_names)
    assert len(crops.records) == 4487 and len(crops.class_names) == 76
    assert (len(split.train), len(split.validation), len(split.novel)) == (33, 22, 21)
    frames = read_cub(shared / "cub-frames")
    assert len(frames.records) == 370 and not set(frames.class_names) & set(crops.class_names)


def test_parts_of_the_photographs_lie_in_their_boxes(shared: Path) -> None:
    inside = total = 0
    for record in read_cub(shared / "cub-frames").records:
        assert record.box is not None
        right, bottom = record.box.left + record.box.width, record.box.top + record.box.height
        framing = frame(int(right) + 1, int(bottom) + 1, record.box, "bbox", 100)
        total += len(record.parts)
        inside += sum(framing.point(*place) is not None for place in record.parts.values())
    assert inside / total > 0.98
