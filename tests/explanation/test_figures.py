"""Figures: bits are conserved, scales are honest, files are written."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from disks import full_after
from matplotlib.colors import TwoSlopeNorm

from milr.explanation.export import export, save_maps
from milr.explanation.figures import (
    ROWS,
    Column,
    colour_scale,
    figure,
    readable,
    save_figures,
    upsample,
)
from milr.explanation.maps import Maps, stack


def maps(count: int = 2) -> Maps:
    values = torch.randn(3, count, 6, 6)
    return Maps(values[0], values[1].exp(), values[2], torch.rand(count, 6, 6), torch.zeros(count, 4), cap=5.0)


def columns() -> list[Column]:
    return [Column("support", "001.Red_bird"), Column("query", "001.Red_bird", "002.Blue_bird", (0.1, 2.0))]


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
def test_upsampling_keeps_the_bits_of_every_map(factor: int) -> None:
    values = torch.randn(3, 7, 5)
    shown = upsample(values, factor)
    assert shown.shape == (3, 7 * factor, 5 * factor)
    assert torch.allclose(shown.sum((1, 2)), values.sum((1, 2)), atol=1e-4)


def test_a_signed_scale_has_zero_in_the_middle_and_a_plain_one_does_not() -> None:
    values = torch.tensor([[-1.0, 4.0]])
    signed = colour_scale(values, signed=True)
    assert isinstance(signed, TwoSlopeNorm) and signed.vmin == -signed.vmax and signed(0.0) == 0.5
    plain = colour_scale(values, signed=False)
    assert -1 <= plain.vmin < plain.vmax <= 4


def test_a_constant_map_can_be_drawn() -> None:
    flat = torch.zeros(2, 6, 6)
    constant = Maps(flat, flat, flat, flat, torch.zeros(2, 4), 5.0)
    figure(ROWS, torch.zeros(2, 3, 24, 24, dtype=torch.uint8), constant, columns()).canvas.draw()


def test_titles_tell_role_species_and_prediction() -> None:
    support, query = columns()
    assert support.title() == "support\nRed bird"
    assert query.title().replace("\n", " ") == "query Red bird predicted: Blue bird"
    assert readable("Tufted.duck") == "Tufted.duck"


@pytest.mark.parametrize(("scale", "bars"), [("kind", 1), ("image", 2)])
def test_every_map_has_a_colour_bar(scale: str, bars: int) -> None:
    images = torch.zeros(2, 3, 24, 24, dtype=torch.uint8)
    for row in ROWS[1:]:
        drawing = figure([row], images, maps(), columns(), scale)
        assert len(drawing.axes) == 2 + bars


def test_everything_is_written(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (2, 3, 24, 24), dtype=torch.uint8)
    values = maps()
    shows = save_figures(tmp_path, images, values, columns(), note="a note")
    assert set(shows) == {path.name for path in tmp_path.iterdir()} == {*(row.file for row in ROWS), "sheet.png"}
    save_maps(tmp_path / "maps.npz", images, values, ["a", "b"], ["a.jpg", "b.jpg"])
    with np.load(tmp_path / "maps.npz") as stored:
        assert np.array_equal(stored["redundant"], values.redundant.numpy())
        assert stored["files"].tolist() == ["a.jpg", "b.jpg"]


def test_stacked_maps_keep_their_order() -> None:
    first, second = maps(2), maps(3)
    both = stack([first, second])
    assert torch.equal(both.total, torch.cat([first.total, second.total])) and both.cap == 5.0


def test_the_table_has_one_row_an_image(tmp_path: Path) -> None:
    images = torch.zeros(2, 3, 24, 24, dtype=torch.uint8)
    values = maps()
    export(tmp_path / "out", images, values, columns(), ["a.jpg", "b.jpg"], "kind", "")
    with (tmp_path / "out" / "maps.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["role"] for row in rows] == ["support", "query"] and rows[1]["predicted"] == "002.Blue_bird"
    assert float(rows[1]["total_bits"]) == pytest.approx(values.total[1].sum().item(), rel=1e-5)


def test_any_class_name_can_be_drawn_and_stands_in_the_table(tmp_path: Path) -> None:
    name = 'Größe, $x_{ "q"; Ж'
    images = torch.randint(0, 256, (2, 3, 12, 12), dtype=torch.uint8)
    shown = [Column("support", name), Column("query", name, name, (0.1, 2.0))]
    export(tmp_path / "out", images, maps(), shown, ["a b,c.jpg", "ñ.jpg"], "kind", "")
    with (tmp_path / "out" / "maps.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["species"], row["predicted"]) for row in rows] == [
        ("a b,c.jpg", name, ""),
        ("ñ.jpg", name, name),
    ]
    with np.load(tmp_path / "out" / "maps.npz", allow_pickle=False) as stored:
        assert stored["labels"].tolist() == [name, name]


@pytest.mark.parametrize("size", [0, 4_000, 20_000])
def test_a_disk_that_fills_up_during_an_export_leaves_no_part_of_it(size: int, tmp_path: Path) -> None:
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with full_after(size), pytest.raises(OSError, match="File too large"):
        export(tmp_path / "out", images, maps(), columns(), ["a.jpg", "b.jpg"], "kind", "")
    assert list(tmp_path.iterdir()) == []
