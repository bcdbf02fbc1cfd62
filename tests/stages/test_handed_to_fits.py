"""What the stages hand to the fit: views of pictures, and in the refits of `milr sanity` validation episodes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toy import batch, pictures, trained_network

from milr.data.pictures import Pictures
from milr.errors import MilrError
from milr.explanation.dataset_decisions import DatasetDecision
from milr.explanation.settings import FitSettings
from milr.settings.schema import FitMilr
from milr.stages import sanity
from milr.stages.fit_milr import new_explainer, views


@pytest.mark.parametrize("permuted", [False, True])
def test_the_critic_has_held_out_images_whose_labels_are_wrong_where_the_fits_are(
    permuted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[FitSettings, list[Any]]] = []
    validation = [batch(5000)]
    monkeypatch.setattr(sanity, "new_explainer", lambda *words: SimpleNamespace())
    asked: list[bool] = []

    def fit_batches(settings: FitMilr, what: Any, pictures: Any, device: Any, wrong: bool) -> Any:
        asked.append(wrong)
        return batch, validation

    monkeypatch.setattr(sanity, "fit_batches", fit_batches)
    monkeypatch.setattr(
        sanity, "fit", lambda explainer, batches, how, held, on_step, on_critic: given.append((how, held))
    )
    settings = FitMilr()
    fitting = replace(settings, milr=replace(settings.milr, steps=70))
    what: DatasetDecision = SimpleNamespace()  # type: ignore[assignment]
    sanity.refit(fitting, what, trained_network(), {"train": None}, torch.device("cpu"), permuted)  # type: ignore[dict-item]
    how, held_out = given[0]
    assert held_out == validation and how.steps == 70 and asked == [permuted]


def test_augmented_views_without_augmentation_are_refused() -> None:
    settings = FitMilr()
    settings.critic.views, settings.augmentation.enabled = 3, False
    with pytest.raises(MilrError, match=r"critic.views=3: .* augmentation.enabled=true"):
        new_explainer(settings, trained_network(), pictures(8, 0)[0], torch.device("cpu"))


def test_pictures_are_mirrored_only_where_left_is_like_right() -> None:
    settings, images = FitMilr(), torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8)
    given = Pictures(images, torch.arange(8), ())
    settings.critic.views = 2
    mirrored = torch.cat([*views(settings, given, torch.device("cpu"))])
    assert torch.equal(mirrored[8:], mirrored[:8].flip(3))
    settings.augmentation.flip = False
    augmented = torch.cat([*views(settings, given, torch.device("cpu"))])
    assert torch.equal(augmented[:8], mirrored[:8]) and not torch.equal(augmented[8:], mirrored[8:])
    settings.augmentation.enabled = False
    with pytest.raises(MilrError, match=r"critic.views=2: more than 1 need"):
        new_explainer(settings, trained_network(), given, torch.device("cpu"))
