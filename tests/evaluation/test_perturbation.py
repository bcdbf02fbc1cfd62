"""Keeping and removing places: exact counts, exact ends of the curves, and a map of the cause that beats chance."""

import pytest
import torch
from toy import pictures, prepared, trained_network

from milr.evaluation.perturbation import Trial, area_between, at_layer, at_pixels, highest, to_pixels
from milr.explanation.fitting import Batch


def test_the_highest_places_are_chosen_and_ties_are_drawn() -> None:
    heat = torch.arange(16.0).view(1, 4, 4).repeat(2, 1, 1)
    assert torch.equal(highest(heat, 0.25, 0)[0], heat[0] >= 12)
    constant = torch.zeros(3, 4, 4)
    chosen = highest(constant, 0.5, 0)
    assert chosen.sum((1, 2)).tolist() == [8, 8, 8] and not torch.equal(chosen[0], chosen[1])


def trial_of(place: str, images: torch.Tensor, labels: torch.Tensor) -> Trial:
    explainer = prepared()
    batch = Batch(images, lambda output: (output, labels))
    make = at_layer if place == "layer" else at_pixels
    return make(explainer, batch, explainer.layers.first_pass(images), 0)


@pytest.mark.parametrize(("place", "side"), [("layer", 16), ("pixels", 32)])
def test_everything_kept_is_the_untouched_decision_and_nothing_kept_is_chance(place: str, side: int) -> None:
    images, labels, _ = pictures(200, seed=11)
    before = images.clone()
    trial = trial_of(place, images, labels)
    whole = trial(torch.ones(200, side, side, dtype=torch.bool))
    untouched = (trained_network()(images).argmax(1) == labels).double()
    assert torch.equal(whole["accuracy"], untouched) and (whole["cosine"] > 1 - 1e-6).all()
    assert trial(torch.zeros(200, side, side, dtype=torch.bool))["accuracy"].mean() < 0.45
    assert torch.equal(images, before)


@pytest.mark.parametrize("place", ["layer", "pixels"])
def test_the_true_cause_wins_over_a_random_map(place: str) -> None:
    images, labels, masks = pictures(100, seed=12)
    trial = trial_of(place, images, labels)
    cause = torch.nn.functional.avg_pool2d(masks[:, None], 2)[:, 0]
    means = {}
    for name, heat in {"cause": cause, "random": torch.rand(100, 16, 16)}.items():
        kept = highest(heat if place == "layer" else to_pixels(heat, 32), 0.1, 0)
        for what, places in (("keep", kept), ("remove", ~kept)):
            means[name, what] = float(trial(places)["accuracy"].mean())
    assert means["cause", "keep"] > means["random", "keep"] + 0.3
    assert means["cause", "remove"] < means["random", "remove"] - 0.3


def test_area_between_curves() -> None:
    shares = torch.tensor([0.0, 0.5, 1.0])
    assert area_between(torch.ones(2, 3), torch.zeros(2, 3), shares).tolist() == [1, 1]
    assert area_between(torch.tensor([0.0, 1, 1]), torch.tensor([1.0, 1, 0]), shares) == 0
