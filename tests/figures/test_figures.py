"""Figures: bits are conserved, scales are honest, files are written."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from disks import full_after
from matplotlib import colormaps
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.text import Text
from PIL import Image

from milr.errors import MilrError
from milr.evaluation.charts import Case, draw_cases
from milr.evaluation.sweep_chart import draw_contact_sheet
from milr.explanation.maps import Maps, stack
from milr.figures.canvas import canvas, headline, write
from milr.figures.columns import Column, readable
from milr.figures.export import export, save_maps
from milr.figures.figures import ROWS, figure, save_figures, upsample
from milr.figures.palette import DIVERGING, beyond, colour_scale
from milr.figures.settings import FigureSettings, SheetSettings
from milr.figures.shown import SCALED, displayable, drawn


def maps(count: int = 2) -> Maps:
    kept, redundant, decision = torch.randn(3, count, 6, 6)
    mask, output = torch.rand(count, 6, 6), torch.zeros(count, 4)
    return Maps(kept + redundant, kept, redundant, decision.exp(), mask, output, cap=5.0)


def columns() -> list[Column]:
    distances, names = (2.0, 0.1), ("001.Red_bird", "002.Blue_bird")
    return [Column("support", names[0]), Column("query", *names, distances, names)]


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


@pytest.mark.parametrize(
    ("least", "most", "arrows"), [(0, 8, "neither"), (-1, 8, "min"), (0, 9, "max"), (-1, 9, "both")]
)
def test_a_colour_bar_has_an_arrow_where_values_lie_beyond_it(least: float, most: float, arrows: str) -> None:
    assert beyond(torch.tensor([least, 3.0, most]), Normalize(0, 8)) == arrows


def test_a_colour_bar_of_a_figure_has_no_arrow_where_nothing_lies_beyond() -> None:
    even, peak = torch.full((1, 20, 20), 2.0), torch.full((1, 20, 20), 2.0)
    peak[0, 3, 3] = 90.0
    for bits, arrow in ((even, "neither"), (peak, "max")):
        drawing = figure(ROWS[1:2], None, Maps(*[bits] * 5, torch.zeros(1, 4), 6.0), ["Wren"])
        (bar,) = [axes._colorbar for axes in drawing.axes if hasattr(axes, "_colorbar")]
        assert bar.extend == arrow


def test_the_three_of_equation_9_share_one_scale_and_the_capacity_has_its_own() -> None:
    kept, redundant = torch.rand(2, 6, 6), torch.rand(2, 6, 6) - 0.5
    values = Maps(kept + redundant, kept, redundant, 300 + torch.rand(2, 6, 6), kept, torch.zeros(2, 4), 5.0)
    for scale in ("kind", "image"):
        how, images = FigureSettings(scale=scale), torch.zeros(2, 3, 24, 24, dtype=torch.uint8)
        drawing = figure(ROWS, images, values, columns(), how)
        for number in range(2):
            reaches = {}
            for row, name in enumerate(each.kind for each in ROWS):
                shown = [image for image in drawing.axes[2 * row + number].images if image.get_array().ndim == 2]
                if name:
                    reaches[name] = shown[0].norm.vmin, shown[0].norm.vmax
            top = reaches["total"][1]
            wanted = values.total if scale == "kind" else values.total[number]
            assert top == pytest.approx(float(np.percentile(wanted.double().abs().numpy(), 99.5)))
            assert reaches["total"] == reaches["kept"] == (0, top)
            assert reaches["redundant"] == (-top, top)
            assert reaches["decision"][0] >= 300  # the capacity's own


def test_a_constant_map_can_be_drawn() -> None:
    flat = torch.zeros(2, 6, 6)
    constant = Maps(flat, flat, flat, flat, flat, torch.zeros(2, 4), 5.0)
    drawing = figure(ROWS, torch.zeros(2, 3, 24, 24, dtype=torch.uint8), constant, columns())
    drawing.canvas.draw()
    shown = [image for axes in drawing.axes for image in axes.images if image.get_array().ndim == 2]
    assert shown and all(image.norm.vmin < image.norm.vmax for image in shown)


def test_titles_tell_role_species_and_prediction() -> None:
    support, query = columns()
    assert support.title() == "support\nRed bird"
    assert query.title().replace("\n", " ") == "query Red bird ✗ taken for Blue bird"
    assert readable("Tufted.duck") == "Tufted.duck"


def lightness(name: str) -> np.ndarray:
    """CIE 1976 L* along a colour map: what is seen of it without any colour."""
    rgb = colormaps[name](np.linspace(0, 1, 64))[:, :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return 116 * np.cbrt(luminance) - 16


@pytest.mark.parametrize("name", ["viridis", "cividis", "magma"])
def test_the_colours_that_are_called_even_grow_lighter_evenly(name: str) -> None:
    steps = np.diff(lightness(name))
    assert steps.min() > 0.4 * steps.mean()
    assert np.diff(lightness("turbo")).min() < 0 and FigureSettings().colours == "viridis"


def test_the_colours_of_a_signed_map_are_lightest_at_zero_and_equally_dark_at_both_ends() -> None:
    light = lightness(DIVERGING)
    assert (np.diff(light[:32]) > 0).all() and (np.diff(light[32:]) < 0).all()
    assert light[0] == pytest.approx(light[-1], abs=5) and light[31] > 95


def test_a_wrong_decision_has_a_cross_and_a_frame_and_a_right_one_has_neither() -> None:
    shown = [Column("query", "a", "a"), Column("query", "a", "b"), Column("1: nearest is 2", "a", right=False)]
    images = torch.zeros(3, 3, 24, 24, dtype=torch.uint8)
    axes = figure(ROWS[:1], images, maps(3), shown).axes
    assert ["✗" in axis.get_title() for axis in axes] == [False, True, True]
    assert ["✓" in axis.get_title() for axis in axes] == [True, False, False]
    assert [axis.spines["left"].get_linewidth() > 1 for axis in axes] == [False, True, True]
    assert "right" in shown[0].title() and "taken for" in shown[1].title() and "wrong" in shown[2].title()


def test_distances_stand_nearest_first_beside_their_prototypes() -> None:
    assert columns()[1].distance_lines().splitlines() == ["distance to", "0.1 Blue bird", "2 Red bird"]
    many = Column("query", "a", "b", tuple(range(20)), ("a_name_that_is_long",) * 20).distance_lines(12)
    assert many.splitlines()[1:2] == ["0 a name…"] and many.endswith("and 14 more")


LONG = [Column("query", "012.Yellow_headed_Blackbird", "047.American_Goldfinch", (0.123, 1.2), ("Blackbird",) * 2)] * 2


@pytest.mark.parametrize(
    ("width", "count"), [("screen", 1), ("screen", 2), ("column", 2), ("page", 10)], ids=lambda value: str(value)
)
def test_no_letter_is_cut(width: str, count: int) -> None:
    images, note = torch.zeros(count, 3, 24, 24, dtype=torch.uint8), "episode_000, 5-way 1-shot, novel species " * 3
    rows = [ROWS[0], ROWS[-1]]
    drawing = figure(rows, images, maps(count), (LONG * 5)[:count], FigureSettings(width=width), note)
    drawing.canvas.draw()
    room, renderer = drawing.bbox.padded(2), drawing.canvas.get_renderer()
    texts = [text for text in drawing.findobj(Text) if text.get_text() and text.get_visible()]
    boxes = [text.get_window_extent(renderer) for text in texts]
    outside = [t.get_text() for t, b in zip(texts, boxes, strict=True) if not room.contains(b.x0, b.y0)]
    assert len(texts) > 5 and outside == []
    assert [t.get_text() for t, b in zip(texts, boxes, strict=True) if not room.contains(b.x1, b.y1)] == []


def test_a_figure_for_a_page_is_as_wide_as_its_column_and_says_how_many_pictures_fit() -> None:
    images = torch.zeros(8, 3, 24, 24, dtype=torch.uint8)
    for width, inches in (("column", 3.35), ("page", 7.0)):
        drawing = figure(ROWS[:1], images[:5], maps(5), ["a"] * 5, FigureSettings(width=width))
        assert drawing.get_figwidth() == inches
    with pytest.raises(MilrError, match="8 pictures side by side do not fit width=column .* at most 6, or set width="):
        figure(ROWS[:1], images, maps(8), ["a"] * 8, FigureSettings(width="column"))


def test_files_for_papers_hold_their_fonts_and_are_the_same_each_time(tmp_path: Path) -> None:
    drawing = canvas(2, 1)
    headline(drawing, "bits", 9)
    for name in ("a.pdf", "b.pdf", "a.svg", "b.svg"):
        write(drawing, tmp_path / name)
    assert b"/FontFile2" in (tmp_path / "a.pdf").read_bytes()  # a TrueType font, whole
    assert b"<text" not in (tmp_path / "a.svg").read_bytes()  # outlines, which need no font
    for ending in ("pdf", "svg"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    with pytest.raises(MilrError, match="format=eps: choose one of png, pdf, svg"):
        save_figures(tmp_path, torch.zeros(2, 3, 8, 8), maps(), columns(), FigureSettings(format="eps"))


def test_under_a_map_a_picture_is_grey() -> None:
    images = torch.randint(0, 256, (2, 3, 12, 12), dtype=torch.uint8)
    below = figure([ROWS[2]], images, maps(), columns()).axes[0].images[0].get_array()
    assert (below[..., 0] == below[..., 1]).all() and (below[..., 1] == below[..., 2]).all() and below.std() > 10


@pytest.mark.parametrize(("scale", "bars"), [("kind", 1), ("image", 2)])
def test_every_map_has_a_colour_bar(scale: str, bars: int) -> None:
    images = torch.zeros(2, 3, 24, 24, dtype=torch.uint8)
    for row in ROWS[1:]:
        drawing = figure([row], images, maps(), columns(), FigureSettings(scale=scale))
        assert len(drawing.axes) == 2 + bars


def test_everything_is_written(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (2, 3, 24, 24), dtype=torch.uint8)
    values = maps()
    shows = save_figures(tmp_path, images, values, columns(), note="a note")
    assert (
        set(shows) == {path.name for path in tmp_path.iterdir()} == {*(f"{row.file}.png" for row in ROWS), "sheet.png"}
    )
    save_maps(tmp_path / "maps.npz", images, values, ["a", "b"], ["a.jpg", "b.jpg"])
    with np.load(tmp_path / "maps.npz") as stored:
        assert np.array_equal(stored["redundant"], values.redundant.numpy())
        assert stored["files"].tolist() == ["a.jpg", "b.jpg"]


def test_stacked_maps_keep_their_order() -> None:
    first, second = maps(2), maps(3)
    both = stack([first, second])
    assert torch.equal(both.total, torch.cat([first.total, second.total])) and both.cap == 5.0


@pytest.mark.slow
def test_the_table_has_one_row_an_image(tmp_path: Path) -> None:
    images = torch.zeros(2, 3, 24, 24, dtype=torch.uint8)
    values = maps()
    support, query = columns()
    query = replace(query, masked="002.Blue_bird", masked_right=False, masked_share=0.75)
    export(tmp_path / "out", images, values, [support, query], ["a.jpg", "b.jpg"])
    with (tmp_path / "out" / "maps.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["role"] for row in rows] == ["support", "query"] and rows[1]["predicted"] == "002.Blue_bird"
    assert float(rows[1]["total_bits"]) == pytest.approx(values.total[1].sum().item(), rel=1e-5)
    through = [tuple(row[f"masked_{what}"] for what in ("predicted", "right", "share")) for row in rows]
    assert through == [("", "", ""), ("002.Blue_bird", "False", "0.75")]


@pytest.mark.slow
def test_any_class_name_can_be_drawn_and_stands_in_the_table(tmp_path: Path) -> None:
    name = 'Größe, $x_{ "q"; Ж'
    images = torch.randint(0, 256, (2, 3, 12, 12), dtype=torch.uint8)
    shown = [Column("support", name), Column("query", name, name, (0.1, 2.0))]
    export(tmp_path / "out", images, maps(), shown, ["a b,c.jpg", "ñ.jpg"])
    with (tmp_path / "out" / "maps.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["name"], row["predicted"]) for row in rows] == [
        ("a b,c.jpg", name, ""),
        ("ñ.jpg", name, name),
    ]
    with np.load(tmp_path / "out" / "maps.npz", allow_pickle=False) as stored:
        assert stored["labels"].tolist() == [name, name]


def test_letters_that_the_font_has_not_are_told_in_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("first", "second"):
        drawing = canvas(3, 1)
        headline(drawing, "日本, été", 9)
        write(drawing, tmp_path / f"{name}.png")
    told = [record.getMessage() for record in caplog.records]
    assert told == ["the figures' font has no 日 本: they are drawn as boxes, the tables have them"]


@pytest.mark.parametrize("size", [0, 4_000, 20_000])
def test_a_disk_that_fills_up_during_an_export_leaves_no_part_of_it(size: int, tmp_path: Path) -> None:
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with full_after(size), pytest.raises(OSError, match="File too large"):
        export(tmp_path / "out", images, maps(), columns(), ["a.jpg", "b.jpg"])
    assert list(tmp_path.iterdir()) == []


def side_by_side(path: Path) -> float:
    """Height over width of the pure blue in a PNG."""
    rgb = np.array(Image.open(path).convert("RGB")).astype(int)
    rows, columns = np.nonzero((rgb[..., 2] > 250) & (rgb[..., :2].max(-1) < 5))
    return (rows.max() - rows.min() + 1) / (columns.max() - columns.min() + 1)


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(24, 24), (24, 48), (60, 24), (20, 80)])
def test_pictures_and_their_maps_have_their_own_aspect(height: int, width: int, tmp_path: Path) -> None:
    images = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    images[:, 2] = 255
    heat = torch.randn(3, 1, 6, 5)
    own = Maps(heat[0], heat[1], heat[0] - heat[1], heat[2], heat[0], torch.zeros(1, 4), cap=5.0)
    save_figures(tmp_path, images, own, [Column("image", "a")])
    draw_cases(tmp_path / "cases.png", [Case(images[0], "a", {})], "all")
    draw_contact_sheet(tmp_path / "contact.png", images[0], {(1.0, 1.0): heat[0, 0]}, {}, "total", "all")
    for name in ("figure2_images.png", "cases.png", "contact.png"):
        assert side_by_side(tmp_path / name) == pytest.approx(height / width, rel=0.1), name  # whole pixels
    for row in ROWS:
        axis = figure([row], images, own, [Column("image", "a")]).axes[0]
        assert {tuple(shown.get_extent()) for shown in axis.images} == {(0, width, height, 0)}
        assert axis.get_aspect() == 1 and len(axis.images) == (2 if row.mixed else 1)


def shown_picture(images: torch.Tensor, maps: Maps) -> np.ndarray:
    return np.asarray(figure(ROWS[:1], images, maps, columns()).axes[0].images[0].get_array())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_every_kind_of_picture_is_shown_as_its_uint8_twin(dtype: torch.dtype) -> None:
    images = torch.randint(0, 256, (2, 3, 12, 24), dtype=torch.uint8)
    other = images.to(dtype) / 255 if dtype.is_floating_point else images.to(dtype)
    expected = images[0].permute(1, 2, 0).numpy().astype(int)
    assert np.array_equal(shown_picture(images, maps()), expected)
    assert np.abs(shown_picture(other, maps()).astype(int) - expected).max() <= (1 if dtype == torch.bfloat16 else 0)


def test_a_grey_picture_is_grey_and_gradients_are_no_hindrance() -> None:
    images = torch.rand(2, 1, 12, 12, requires_grad=True)
    shown = shown_picture(images, maps())
    assert shown.shape == (12, 12, 3) and (shown[..., 0] == shown[..., 1]).all() and shown.std() > 10


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.linspace(0, 255, 24).view(2, 3, 2, 2), r"floats from 0 to 1, not torch.float32 from 0 to 255"),
        (torch.full((2, 3, 2, 2), float("nan")), "from nan to nan"),
        (torch.full((2, 3, 2, 2), 300), "not torch.int64 from 300 to 300"),
        (torch.zeros(2, 24, 24, 4), r"must be \[K, 3, H, W\], at least one, not \[2, 24, 24, 4\]"),
        (torch.zeros(2, 24, 24), r"not \[2, 24, 24\]"),
        (torch.zeros(0, 3, 24, 24), r"not \[0, 3, 24, 24\]"),
        (torch.zeros(3, 3, 24, 24), "3 images, 2 maps, 2 columns: there must be one of each"),
        (torch.zeros(1, 3, 24, 24), "1 images, 2 maps, 2 columns: there must be one of each"),
    ],
)
def test_what_would_be_another_picture_is_refused_before_anything_is_written(
    images: torch.Tensor, message: str, tmp_path: Path
) -> None:
    for use in (
        lambda: save_figures(tmp_path, images, maps(), columns()),
        lambda: export(tmp_path / "out", images, maps(), columns(), ["a", "b"]),
    ):
        with pytest.raises(MilrError, match=message.replace("2 columns", "2 columns(, 2 files)?")):
            use()
    assert list(tmp_path.iterdir()) == []


def test_a_file_name_that_is_missing_is_missed_at_once(tmp_path: Path) -> None:
    images = torch.zeros(2, 3, 24, 24, dtype=torch.uint8)
    with pytest.raises(MilrError, match="2 images, 2 maps, 2 columns, 1 files"):
        export(tmp_path / "out", images, maps(), columns(), ["a.jpg"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_stored_pictures_are_those_that_were_shown(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (2, 3, 12, 24), dtype=torch.uint8)
    export(tmp_path / "out", images.float() / 255, maps(), columns(), ["a.jpg", "b.jpg"])
    with np.load(tmp_path / "out" / "maps.npz") as stored:
        assert np.array_equal(stored["images"], displayable(images).numpy())


def test_the_rounding_of_a_normalisation_that_was_undone_is_no_other_picture() -> None:
    images = torch.tensor([0.0, 128 / 255, 1.0]).expand(1, 3, 1, 3)
    off = images + torch.tensor([-1e-6, 1e-6, 1e-6])
    assert torch.equal(displayable(off), displayable(images))


def test_floats_to_255_are_asked_to_be_divided() -> None:
    with pytest.raises(MilrError, match="from 0 to 255: divide by 255"):
        displayable(torch.tensor([0.0, 128.0, 255.0]).expand(1, 3, 1, 3))


def test_a_normalisation_is_undone_where_it_is_known_and_said_to_be_guessed_where_not() -> None:
    images = torch.randint(0, 256, (2, 3, 12, 24), dtype=torch.uint8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    network = (images / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    undone, note = drawn(network, mean, std)
    assert torch.equal(undone, images) and note == ""
    guessed, note = drawn(network)
    assert note == SCALED and guessed.flatten(1).min(1).values.tolist() == [0, 0] and guessed.max() == 255
    drawing = figure(ROWS[:1], network, maps(), columns(), note="mine")
    assert "".join(drawing.get_suptitle().split()) == "".join(f"mine; {SCALED}".split())
    with pytest.raises(MilrError, match="both mean and std"):
        drawn(network, mean)


def test_pictures_come_with_their_channels_first_or_last_alone_in_lists_and_as_arrays() -> None:
    images = torch.randint(0, 256, (2, 3, 12, 24), dtype=torch.uint8)
    last = images.permute(0, 2, 3, 1)
    for form in (last, last.numpy(), list(images), [Image.fromarray(each.numpy()) for each in last]):
        assert torch.equal(drawn(form)[0], images)
    for one in (images[0], last[0]):
        assert torch.equal(drawn(one)[0], images[:1])


def test_sheets_take_colours_and_the_width_of_a_page(tmp_path: Path) -> None:
    case = Case(torch.zeros(3, 24, 24), "Wren", {name: torch.rand(24, 24) for name in ("total", "decision")})
    contact, sheets = {(1.0, 1.0): torch.rand(24, 24)}, []
    for how in (SheetSettings(), SheetSettings(colours="turbo"), SheetSettings(width="page")):
        draw_cases(tmp_path / "cases.png", [case], "cases", how=how)
        draw_contact_sheet(tmp_path / "contact.png", torch.zeros(3, 24, 24), contact, {}, "total", "contact", how)
        sheets.append([np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("cases", "contact")])
    for plain, turbo, page in zip(*sheets, strict=True):
        assert plain.shape == turbo.shape and (plain != turbo).any()
        assert page.shape[1] == 7 * 300
