"""Annotations at a map's resolution agree with the picture's own pixels."""

import numpy as np
import torch
from PIL import Image

from milr.data.records import Catalogue
from milr.evaluation.regions import framing_of, parts_of, regions_of


def test_regions_of_drawn_birds(birds: Catalogue) -> None:
    for record in birds.records[:10]:
        framing = framing_of(record, "none", 64)
        regions = regions_of(record, framing, (64, 64))
        assert set(regions) == {"box", "bird", "defining", "other"}
        with Image.open(record.segmentation) as mask:  # type: ignore[arg-type]
            assert np.array_equal(regions["bird"].numpy(), np.array(mask.convert("L")) > 127)
        assert not (regions["bird"] & ~regions["box"]).any()
        assert torch.equal(regions["defining"] | regions["other"], regions["bird"])
        assert not (regions["defining"] & regions["other"]).any()


def test_places_of_parts_lie_on_the_bird_at_any_resolution(birds: Catalogue) -> None:
    hits = total = 0
    for record in birds.records:
        framing = framing_of(record, "none", 64)
        bird = regions_of(record, framing, (16, 16))["bird"]
        for row, column in parts_of(record, framing, (16, 16)).values():
            hits, total = hits + bool(bird[row, column]), total + 1
    assert hits / total > 0.7  # bill and legs are thinner than a place


def test_every_visible_part_has_its_place(birds: Catalogue) -> None:
    for record in birds.records:
        assert set(parts_of(record, framing_of(record, "none", 64), (8, 8))) <= set(record.parts)
    names = {name for r in birds.records for name in parts_of(r, framing_of(r, "none", 64), (8, 8))}
    assert {"left eye", "right eye", "tail"} <= names


def test_what_the_crop_cuts_away_is_not_there(birds: Catalogue) -> None:
    record = birds.records[0]
    framing = framing_of(record, "bbox", 64)
    assert regions_of(record, framing, (8, 8))["box"].all()
