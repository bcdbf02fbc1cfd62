"""What the stages hand to the fit: views of pictures, and in the refits of `milr sanity` validation episodes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toy import batch, pictures, trained_network

from milr.errors import MilrError
from milr.explanation.settings import FitSettings
from milr.networks.protonet import PrototypicalNetwork
from milr.settings.schema import FitMilr
from milr.stages import sanity
from milr.stages.fit_milr import new_explainer


@pytest.mark.parametrize("permuted", [False, True])
def test_the_critic_has_held_out_images_and_wrong_labels_keep_the_last_step(
    permuted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[FitSettings, list[Any]]] = []
    validation = [batch(5000)]
    monkeypatch.setattr(sanity, "new_explainer", lambda *words: SimpleNamespace())
    monkeypatch.setattr(sanity, "fit_batches", lambda *words: (batch, validation))
    monkeypatch.setattr(sanity, "fit", lambda explainer, batches, how, held, on_step: given.append((how, held)))
    settings = FitMilr()
    fitting = replace(settings, milr=replace(settings.milr, steps=70))
    network: PrototypicalNetwork = SimpleNamespace()  # type: ignore[assignment]
    sanity.refit(fitting, network, trained_network(), {"train": None}, torch.device("cpu"), permuted)  # type: ignore[dict-item]
    how, held_out = given[0]
    assert held_out == validation and how.steps == 70
    assert how.validate_every == (70 if permuted else 50)


def test_augmented_views_without_augmentation_are_refused() -> None:
    settings = FitMilr()
    settings.critic.views, settings.augmentation.enabled = 3, False
    with pytest.raises(MilrError, match=r"critic.views=3: .* augmentation.enabled=true"):
        new_explainer(settings, trained_network(), pictures(8, 0)[0], torch.device("cpu"))
