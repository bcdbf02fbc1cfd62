from __future__ import annotations

import base64
import csv
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import shown_fit as shown
from PIL import Image

from milr.errors import MilrError
from milr.figures.figures import ROWS
from milr.figures.palette import reach_of
from milr.report.drawn import read_pictures
from milr.report.pictures import STEPS, Card, cards_of, scales_of


@pytest.fixture
def cards(outputs: Path) -> list[Card]:
    shown.fitted(outputs)
    return cards_of({"fit": read_pictures(outputs / "visualize" / "maps of fit")})


def test_a_map_comes_back_to_half_a_step(cards: list[Card]) -> None:
    maps = shown.some_maps(6)
    for number, card in enumerate(cards):
        for heat in card.strips[0].heats:
            steps = np.frombuffer(base64.b64decode(heat.data), "<u2").reshape(heat.shape)
            back = heat.low + steps / STEPS * (heat.high - heat.low)
            own = getattr(maps, heat.kind)[number].double().numpy()
            assert np.abs(back - own).max() <= (heat.high - heat.low) / STEPS / 2 + 1e-6
            assert own[heat.highest[0] - 1, heat.highest[1] - 1] == own.max()
            assert heat.mean == pytest.approx(own.mean())


def test_maps_stand_in_the_order_of_the_sheet(cards: list[Card]) -> None:
    of_sheet = list(dict.fromkeys(row.kind for row in ROWS if row.kind))
    assert all([heat.kind for heat in card.strips[0].heats] == of_sheet for card in cards)


def test_numbers_of_a_strip(cards: list[Card]) -> None:
    maps, strip = shown.some_maps(6), cards[3].strips[0]
    assert strip.bits["total"] == pytest.approx(strip.bits["kept"] + strip.bits["redundant"])  # eq. 9
    assert strip.saturation == pytest.approx(maps.total[3].mean().item() / shown.CAP)
    assert strip.disagreement == pytest.approx(2)  # the decision is high where the total is low
    assert [card.strips[0].right for card in cards] == [None, None, True, True, True, False]


def test_the_answer_that_is_given_stands_first(cards: list[Card]) -> None:
    wrong = cards[-1].strips[0]
    assert [answer.answer for answer in wrong.answers] == ["002.Tree_Creeper", "004.Hedge_<Sparrow>"]
    assert (wrong.predicted, cards[-1].name) == ("Tree Creeper", "Hedge <Sparrow>")


def test_whether_a_decision_survives_the_mask(cards: list[Card]) -> None:
    told = [(strip.masked and strip.masked.right, strip.survives) for card in cards for strip in card.strips]
    assert told == [(None, False), (None, False), (True, True), (False, False), (True, True), (True, False)]


def test_a_run_of_before_the_mask_was_asked_does_not_tell(outputs: Path) -> None:
    shown.fitted(outputs)
    folder = outputs / "visualize" / "maps of fit"
    path = folder / "episode_000" / "maps.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{k: v for k, v in row.items() if not k.startswith("masked")} for row in csv.DictReader(file)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    strips = [card.strips[0] for card in cards_of({"fit": read_pictures(folder)})]
    assert not any(strip.masked for strip in strips) and strips[-1].predicted == "Tree Creeper"


def test_a_run_of_before_decisions_were_written_is_judged_by_names(outputs: Path) -> None:
    shown.fitted(outputs)
    folder = outputs / "visualize" / "maps of fit"
    (folder / "episode_000" / "decisions.csv").unlink()
    rightness = [card.strips[0].right for card in cards_of({"fit": read_pictures(folder)})]
    assert rightness == [None, None, True, True, True, False]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("maps.npz", b"x", "episode_000 cannot be read"),
        ("maps.npz", b"", "episode_000 cannot be read"),
        ("maps.npz", None, "holds no maps any more"),
        ("maps.csv", None, "episode_000 cannot be read .*No such file"),
        ("maps.csv", b"name,role\n", "episode_000 cannot be read .maps.csv has 0 rows, and maps.npz 6 pictures"),
        ("maps.csv", b"\xff\xfe", "episode_000 cannot be read"),
        ("decisions.csv", b"image,answer\n0,\0\n", "decisions.csv is of another version"),
    ],
)
def test_maps_that_are_gone_or_damaged_are_named(outputs: Path, file: str, content: bytes | None, message: str) -> None:
    shown.fitted(outputs)
    folder = outputs / "visualize" / "maps of fit"
    path = folder / "episode_000" / file
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(MilrError, match=message):
        read_pictures(folder)


def test_colours_have_the_reach_of_all_pictures_and_begin_at_0_where_nothing_is_below(outputs: Path) -> None:
    shown.fitted(outputs)
    scales, maps = scales_of(read_pictures(outputs / "visualize" / "maps of fit")), shown.some_maps(6)
    reach = reach_of(maps.total)
    assert scales["total"] == pytest.approx((0, reach)) and scales["redundant"] == pytest.approx((-reach, reach))
    assert scales["kept"] == scales["total"]  # in one unit: they can be compared
    assert scales["decision"] == pytest.approx((0, reach_of(maps.decision)))


def test_a_picture_that_two_runs_drew_is_shown_once(outputs: Path) -> None:
    shown.fitted(outputs)
    reads = read_pictures(outputs / "visualize" / "maps of fit")
    cards = cards_of({"one": reads, "other": reads[:2]})
    assert [[strip.run for strip in card.strips] for card in cards] == [["one", "other"]] * 2 + [["one"]] * 4
    picture = Image.open(BytesIO(base64.b64decode(cards[0].picture.partition(",")[2])))
    assert picture.size == cards[0].size == (48, 48)
