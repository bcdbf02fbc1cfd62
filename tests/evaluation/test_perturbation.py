"""Keeping and removing places: exact counts, exact ends of the curves, and a map of the cause that beats chance."""

import torch
from toy import pictures, prepared, trained_network

from milr.evaluation.methods import all_maps, centred_gaussian, grad_cam
from milr.evaluation.perturbation import area_between, decide_with, highest
from milr.explanation.fitting import Batch
from milr.information.bottleneck import noise_like


def test_the_highest_places_are_chosen_and_ties_are_drawn() -> None:
    heat = torch.arange(16.0).view(1, 4, 4).repeat(2, 1, 1)
    assert torch.equal(highest(heat, 0.25, 0)[0], heat[0] >= 12)
    constant = torch.zeros(3, 4, 4)
    chosen = highest(constant, 0.5, 0)
    assert chosen.sum((1, 2)).tolist() == [8, 8, 8] and not torch.equal(chosen[0], chosen[1])


def test_everything_kept_is_the_untouched_decision_and_nothing_kept_is_chance() -> None:
    images, labels, _ = pictures(200, seed=11)
    explainer = prepared()
    first = explainer.layers.first_pass(images)
    noise = noise_like(explainer.prepared.local, tuple(first.local.shape), torch.Generator().manual_seed(0))

    def accuracy(kept: torch.Tensor) -> dict[str, torch.Tensor]:
        return decide_with(explainer.layers, first, images, lambda output: (output, labels), kept, "noise", noise)

    whole = accuracy(torch.ones(200, 16, 16, dtype=torch.bool))
    untouched = (trained_network()(images).argmax(1) == labels).double()
    assert torch.equal(whole["accuracy"], untouched) and (whole["cosine"] > 1 - 1e-6).all()
    assert accuracy(torch.zeros(200, 16, 16, dtype=torch.bool))["accuracy"].mean() < 0.45


def test_the_true_cause_wins_over_a_random_map() -> None:
    images, labels, masks = pictures(100, seed=12)
    explainer = prepared()
    first = explainer.layers.first_pass(images)
    noise = noise_like(explainer.prepared.local, tuple(first.local.shape), torch.Generator().manual_seed(0))
    cause = torch.nn.functional.avg_pool2d(masks[:, None], 2)[:, 0]
    means = {}
    for name, heat in {"cause": cause, "random": torch.rand(100, 16, 16)}.items():
        kept = highest(heat, 0.1, 0)
        for what, places in (("keep", kept), ("remove", ~kept)):
            row = decide_with(explainer.layers, first, images, lambda o: (o, labels), places, "noise", noise)
            means[name, what] = float(row["accuracy"].mean())
    assert means["cause", "keep"] > means["random", "keep"] + 0.3
    assert means["cause", "remove"] < means["random", "remove"] - 0.3


def test_area_between_curves() -> None:
    shares = torch.tensor([0.0, 0.5, 1.0])
    assert area_between(torch.ones(2, 3), torch.zeros(2, 3), shares).tolist() == [1, 1]
    assert area_between(torch.tensor([0.0, 1, 1]), torch.tensor([1.0, 1, 0]), shares) == 0


def test_every_method_gives_a_map_of_every_image_and_grad_cam_is_its_formula() -> None:
    images, labels, _ = pictures(6, seed=13)
    explainer = prepared()
    batch = Batch(images, lambda output: (output, labels))
    maps = all_maps(explainer, batch, seed=0)
    assert set(maps) == {"total", "decision", "redundant", "random", "centre", "activation", "grad_cam"}
    assert all(heat.shape == (6, 16, 16) and torch.isfinite(heat).all() for heat in maps.values())

    network = trained_network()
    local = network.layer1(images).detach().requires_grad_()
    logits = network.fc(network.avgpool(network.layer2(local)).flatten(1))
    logits.max(1).values.sum().backward()
    assert local.grad is not None
    expected = (local.grad.mean((2, 3), keepdim=True) * local).sum(1).relu()
    assert torch.allclose(grad_cam(explainer, batch, local.detach()), expected, atol=1e-5)


def test_the_centred_gaussian_is_highest_in_the_middle() -> None:
    gaussian = centred_gaussian(9, 7)
    assert gaussian.argmax() == 4 * 7 + 3 and torch.equal(gaussian, gaussian.flip(0, 1))
