"""Masks that tell no place from another are warned of: at the end of a fit, and where their maps are drawn."""

from __future__ import annotations

import pytest
import torch
from toy import SHORT, batch, prepared

from milr.explanation.dead_masks import fault_of
from milr.explanation.fitting import fit
from milr.explanation.maps import Maps
from milr.explanation.settings import FitSettings, MaskSettings, MilrSettings

Log = pytest.LogCaptureFixture


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            0.004,
            "lets hardly anything pass (mean 0.004), so that nothing is kept or decision-related: fit again with a l",
        ),
        (0.996, "lets nearly everything pass (mean 0.996), so that nothing is redundant: fit again with a higher"),
        (0.3, "is the same at every place (0.3), so that what it keeps says nothing of places: fit again with more"),
    ],
)
def test_a_dead_mask_is_named_with_what_to_do(value: float, said: str) -> None:
    assert f"the mask {said}" in fault_of(torch.full((2, 6, 6), value))


def test_a_mask_with_one_open_place_or_one_image_that_has_places_is_not_dead() -> None:
    mask = torch.zeros(2, 8, 8)
    mask[1, 3, 3] = 1.0
    assert fault_of(mask) == "" and fault_of(mask[:, 3]) == ""


def test_a_fit_ends_with_a_warning_of_its_mask(caplog: Log) -> None:
    for initial, said in ((0.999, "lets nearly everything pass"), (0.5, "is the same at every place")):
        explainer = prepared(MilrSettings(mask=MaskSettings(initial=initial)))
        fit(explainer, batch, FitSettings(critic=SHORT, steps=1, learning_rate=1e-9))
        assert said in caplog.text
        caplog.clear()


@pytest.mark.parametrize("draw", [Maps.plot, Maps.show])
def test_a_figure_of_a_dead_mask_warns_and_one_of_another_does_not(draw: object, caplog: Log) -> None:
    bits, output = torch.rand(1, 6, 6), torch.zeros(1, 4)
    draw(Maps(bits, bits, bits, bits, torch.rand(1, 6, 6), output, 6.0))  # type: ignore[operator]
    assert not caplog.records
    draw(Maps(bits, bits, bits, bits, torch.zeros(1, 6, 6), output, 6.0))  # type: ignore[operator]
    assert "fit again with a lower beta (milr.beta=, or" in caplog.text
