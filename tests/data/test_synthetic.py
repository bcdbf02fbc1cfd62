"""Drawn birds: repeatable, with masks that tell the truth, and species that differ in their defining parts alone."""

import itertools
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from milr.data.drawing import draw_bird
from milr.data.families import two_parts
from milr.data.records import Catalogue
from milr.data.shapes import PALETTE
from milr.data.species import BILLS, Species
from milr.data.synthetic import PART_NAMES, read_synthetic
from milr.errors import MilrError

SMALL = {"species": 4, "images_per_species": 2, "picture_size": 48, "seed": 3}
ROBIN = Species("red", "yellow", "short", "white")


def test_same_settings_same_pictures(tmp_path: Path) -> None:
    first, second = (read_synthetic(tmp_path / name, **SMALL) for name in ("a", "b"))
    for one, other in zip(first.records, second.records, strict=True):
        assert one.path.read_bytes() == other.path.read_bytes() and one.box == other.box and one.parts == other.parts


def test_drawn_once_and_then_read(tmp_path: Path) -> None:
    root = tmp_path / "birds"
    times = []
    for _ in range(2):
        read_synthetic(root, **SMALL)
        times.append(max(path.stat().st_mtime_ns for path in root.rglob("*")))
    assert times[0] == times[1]
    assert [path.name for path in tmp_path.iterdir()] == ["birds"]  # nothing is left beside it


def test_other_settings_and_strange_folders_are_refused(tmp_path: Path) -> None:
    read_synthetic(tmp_path / "birds", **SMALL)
    with pytest.raises(MilrError, match="drawn with seed 3 instead of 4"):
        read_synthetic(tmp_path / "birds", **{**SMALL, "seed": 4})
    (tmp_path / "mine").mkdir()
    with pytest.raises(MilrError, match="no drawn birds"):
        read_synthetic(tmp_path / "mine", **SMALL)


def test_a_drawing_that_breaks_off_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("milr.data.synthetic.save_drawing", full)
    with pytest.raises(OSError, match="No space left"):
        read_synthetic(tmp_path / "birds", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_any_two_species_differ_in_two_traits() -> None:
    for one, other in itertools.combinations(two_parts(120, 0), 2):
        assert sum(a != b for a, b in zip(one.traits(), other.traits(), strict=True)) >= 2
    with pytest.raises(MilrError, match="there are only"):
        two_parts(5000, 0)


def test_what_a_species_fixes_is_all_that_it_changes() -> None:
    for seed in range(12):
        crow = Species("black", "blue", "hooked", "green")
        one, other = (draw_bird(species, random.Random(seed), 96) for species in (ROBIN, crow))
        either = np.array(one.defining) | np.array(other.defining)
        # One pixel around the masks, which are thresholded where the picture is averaged.
        grown = either.copy()
        for shift, axis in itertools.product((-1, 1), (0, 1)):
            grown |= np.roll(either, shift, axis) | np.roll(np.roll(either, shift, 0), shift, 1)
            grown |= np.roll(np.roll(either, shift, 0), -shift, 1)
        difference = np.abs(np.array(one.picture).astype(int) - np.array(other.picture).astype(int)).max(2)
        assert difference[grown == 0].max() == 0
        assert difference[either > 0].mean() > 30


def test_masks_box_and_parts_agree() -> None:
    for seed in range(12):
        drawing = draw_bird(ROBIN, random.Random(seed), 96)
        bird, defining = np.array(drawing.segmentation) > 0, np.array(drawing.defining) > 0
        assert not (defining & ~bird).any()
        assert 0.1 < defining.sum() / bird.sum() < 0.6 and bird.mean() < 0.5
        rows, columns = np.nonzero(bird)
        assert drawing.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert all(bird[int(y), int(x)] for x, y in drawing.parts.values())
        for part in ("crown", "forehead", "beak"):
            if part in drawing.parts:
                x, y = drawing.parts[part]
                assert defining[int(y), int(x)]
        assert set(drawing.parts) <= set(PART_NAMES) and ("left eye" in drawing.parts) != ("right eye" in drawing.parts)


def test_free_colours_come_from_the_same_palette_as_the_defining_ones() -> None:
    """Else the share of a colour in the picture would give the species away."""
    red, blue = (Species(head, "black", "long", "white") for head in ("red", "blue"))
    colours = {species.head: [] for species in (red, blue)}  # type: ignore[var-annotated]
    for species, seed in itertools.product((red, blue), range(60)):
        drawing = draw_bird(species, random.Random(f"{species.head}:{seed}"), 32)
        free = (np.array(drawing.segmentation) > 0) & (np.array(drawing.defining) == 0)
        colours[species.head].append(np.array(drawing.picture)[free].mean(0))
    difference = np.mean(colours["red"], 0) - np.mean(colours["blue"], 0)
    assert np.abs(difference).max() < 35 and len(PALETTE) == 8 and len(BILLS) == 3


def test_catalogue_has_the_defining_masks(birds: Catalogue) -> None:
    assert birds.name == "synthetic" and {part for bird in birds.records for part in bird.parts} == {*PART_NAMES}
    assert all(record.defining_mask is not None and record.defining_mask.is_file() for record in birds.records)


def test_damaged_birds_are_to_be_drawn_again_and_not_downloaded(birds: Catalogue, tmp_path: Path) -> None:
    drawing = {"species": 12, "images_per_species": 8, "picture_size": 64, "seed": 0}
    root = Path(shutil.copytree(birds.root, tmp_path / "drawn"))
    (root / "classes.txt").unlink()
    with pytest.raises(
        MilrError, match=r"classes\.txt is missing.*; move \S*drawn away, and the birds are drawn again$"
    ):
        read_synthetic(root, **drawing)
    (root / "synthetic.json").write_text("{")
    with pytest.raises(MilrError, match=r"synthetic\.json is damaged .*drawn again$"):
        read_synthetic(root, **drawing)
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(MilrError, match="is a link that leads nowhere"):
        read_synthetic(tmp_path / "link", **drawing)
    (tmp_path / "file").write_text("")
    with pytest.raises(MilrError, match=r"(cannot draw birds into|cannot be read)"):
        read_synthetic(tmp_path / "file" / "birds", **drawing)
    if Path("/proc/self").exists():  # in which nobody makes a folder
        with pytest.raises(MilrError, match="cannot draw birds into /proc/birds"):
            read_synthetic(Path("/proc/birds"), **drawing)
