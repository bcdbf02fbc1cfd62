"""Keeping and removing places: exact counts, exact ends of the curves, and a map of the cause that beats chance."""

import pytest
import torch
from toy import pictures, prepared, trained_network

from milr.errors import MilrError
from milr.evaluation.fills import FILLS, filling
from milr.evaluation.metrics import Metric
from milr.evaluation.perturbation import Trial, area_between, at_layer, at_pixels, highest, to_pixels
from milr.evaluation.study import areas, curves
from milr.explanation.fitting import Batch
from milr.information.bottleneck import noise_like
from milr.information.statistics import Standardise
from milr.seeding import seed_of


def test_the_highest_places_are_chosen_and_ties_are_drawn() -> None:
    heat = torch.arange(16.0).view(1, 4, 4).repeat(2, 1, 1)
    assert torch.equal(highest(heat, 0.25, 0)[0], heat[0] >= 12)
    constant = torch.zeros(3, 4, 4)
    chosen = highest(constant, 0.5, 0)
    assert chosen.sum((1, 2)).tolist() == [8, 8, 8] and not torch.equal(chosen[0], chosen[1])


def trial_of(place: str, images: torch.Tensor, labels: torch.Tensor) -> Trial:
    explainer = prepared()
    batch = Batch(images, lambda output: (output, labels))
    if place == "layer":
        return at_layer(explainer.layers, batch, explainer.modules.local, "noise", 0)
    return at_pixels(explainer.layers, batch, "noise", 0)


@pytest.mark.parametrize(("place", "side"), [("layer", 16), ("pixels", 32)])
def test_everything_kept_is_the_untouched_decision_and_nothing_kept_is_chance(place: str, side: int) -> None:
    images, labels, _ = pictures(200, seed=11)
    before = images.clone()
    trial = trial_of(place, images, labels)
    everything = torch.ones(200, side, side, dtype=torch.bool)
    whole, nothing = (
        {name: values[number] for name, values in trial(torch.stack([everything, ~everything])).items()}
        for number in (0, 1)
    )
    untouched = (trained_network()(images).argmax(1) == labels).double()
    assert torch.equal(whole["accuracy"], untouched) and (whole["cosine"] > 1 - 1e-6).all()
    assert nothing["accuracy"].mean() < 0.45
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
            means[name, what] = float(trial(places[None])["accuracy"].mean())
    assert means["cause", "keep"] > means["random", "keep"] + 0.3
    assert means["cause", "remove"] < means["random", "remove"] - 0.3


def test_area_between_curves() -> None:
    shares = torch.tensor([0.0, 0.5, 1.0])
    assert area_between(torch.ones(2, 3), torch.zeros(2, 3), shares).tolist() == [1, 1]
    assert area_between(torch.tensor([0.0, 1, 1]), torch.tensor([1.0, 1, 0]), shares) == 0


def one_by_one(images: torch.Tensor, labels: torch.Tensor, kept: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """Trials at the layer as their formula says, each in a pass of its own."""
    explainer = prepared()
    network, first = explainer.layers.network, explainer.layers.first_pass(images)
    generator = torch.Generator().manual_seed(seed_of("trial at the layer", 5))
    noise = noise_like(explainer.modules.local, first.local, generator)
    found: dict[str, list[torch.Tensor]] = {"accuracy": [], "loss": [], "cosine": []}
    with torch.no_grad():
        for places in kept:
            changed = first.local * places[:, None] + noise * ~places[:, None]
            z = network.avgpool(network.layer2(changed)).flatten(1)
            output = network.fc(z)
            found["accuracy"].append((output.argmax(1) == labels).double())
            found["loss"].append(torch.nn.functional.cross_entropy(output, labels, reduction="none").double())
            found["cosine"].append(torch.nn.functional.cosine_similarity(z, first.representation).double())
    return found


def test_trials_in_large_batches_are_trials_one_by_one() -> None:
    images, labels, _ = pictures(13, seed=21)  # 13 pictures of 14 trials share passes of 32
    heat, shares = torch.rand(13, 16, 16), (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.95)
    explainer = prepared()
    batch = Batch(images, lambda output: (output, labels))
    trial = at_layer(explainer.layers, batch, explainer.modules.local, "noise", 5)
    found = curves(trial, heat, shares, 5)
    kept = [highest(heat, share, 5) for share in shares]
    wanted = one_by_one(images, labels, torch.stack([*kept, *(~places for places in kept)]))
    for number, share in enumerate(shares):
        for measure, values in wanted.items():
            keep, remove = (found[Metric(kind, "", measure, share)] for kind in ("keep", "remove"))
            assert torch.allclose(keep, values[number], atol=1e-5)
            assert torch.allclose(remove, values[len(shares) + number], atol=1e-5)
    area = areas(trial, {"heat": heat}, shares, 5)["heat"]
    keep, remove = (torch.stack(rows, 1) for rows in (wanted["accuracy"][:7], wanted["accuracy"][7:]))
    assert torch.allclose(area, area_between(keep, remove, torch.tensor(shares, dtype=torch.float64)), atol=1e-5)


@pytest.mark.parametrize("fill", FILLS)
def test_every_fill_leaves_what_is_kept_and_hides_the_rest(fill: str) -> None:
    images, labels, masks = pictures(60, seed=12)
    explainer = prepared()
    batch = Batch(images, lambda output: (output, labels))
    trial = at_layer(explainer.layers, batch, explainer.modules.local, fill, 0)
    everything = torch.ones(1, 60, 16, 16, dtype=torch.bool)
    cause = torch.nn.functional.max_pool2d(masks[:, None], 2)[None, :, 0] > 0
    assert torch.equal(trial(everything)["accuracy"][0], (trained_network()(images).argmax(1) == labels).double())
    assert trial(~cause)["loss"].mean() > trial(everything)["loss"].mean() + 0.1


def test_fills_are_what_they_say() -> None:
    scale = Standardise(torch.tensor([1.0, -2.0]), torch.tensor([1.0, 3.0]))
    features = torch.full((4, 2, 16, 16), 5.0)
    assert torch.equal(filling("mean", features, scale, 0)[2, :, 3, 3], torch.tensor([1.0, -2.0]))
    assert torch.equal(filling("zero", features, scale, 0), torch.zeros_like(features))
    assert torch.allclose(filling("blur", features, scale, 0), features)
    noise = filling("noise", features, scale, 0)
    assert torch.allclose(noise.mean((0, 2, 3)), scale.mean, atol=0.3) and not torch.equal(noise[0], noise[1])
    with pytest.raises(MilrError, match="no fill 'grey': choose among noise, zero, mean, blur"):
        filling("grey", features, scale, 0)
