"""Masks refined for the pictures at hand: for their own decision, and for a target."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from toy import COLOURS, SIZE, SQUARE, pictures, prepared, trained_network

import milr.explanation.explainer as explainer_module
from milr.baselines.attribution import own_decision
from milr.decisions.decisions import Batch, asking_for
from milr.errors import MilrError
from milr.explanation.map_making import MapMaker
from milr.explanation.maps import KINDS
from milr.explanation.milr import MILR
from milr.explanation.settings import MaskSettings, MilrSettings
from milr.explanation.targets import OwnDecision, Target, own_class, towards, towards_class
from milr.networks.layers import FirstPass
from milr.networks.settings import MetricSettings

SHARED = MilrSettings(mask=MaskSettings(shared=True))


def two_squares(count: int) -> tuple[Tensor, Tensor]:
    """Images with a square of class 0 on the left and one of class 1 on the right; the places of each [2, 16, 16]."""
    images = 0.3 * torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    places = torch.zeros(2, SIZE, SIZE, dtype=torch.bool)
    for colour, left in enumerate((4, 20)):
        images[:, :, 12 : 12 + SQUARE, left : left + SQUARE] += COLOURS[colour][:, None, None]
        places[colour, 12 : 12 + SQUARE, left : left + SQUARE] = True
    return images, places[:, ::2, ::2]


def test_a_target_lights_what_speaks_for_it() -> None:
    images, places = two_squares(8)
    explainer = prepared(SHARED)
    found = [explainer.maps(images, refine=20, target=towards_class(number)).decision for number in (0, 1)]
    shares = torch.stack([(map_ * places[:, None]).sum((2, 3)) / map_.sum((1, 2)) for map_ in found])  # target, square
    assert (shares[0, 0] > shares[1, 0]).all() and (shares[1, 1] > shares[0, 1]).all()


def test_refined_for_its_own_class_a_mask_costs_less_and_decides_as_before() -> None:
    images, _, _ = pictures(8, seed=70)
    explainer = prepared(SHARED)
    own = trained_network()(images).argmax(1)
    before, after = explainer.maps(images), explainer.maps(images, refine=10)
    assert torch.equal(explainer.maps(images, refine=10, target=OwnDecision(towards_class(own))).mask, after.mask)
    assert torch.equal(explainer.decision_map(images, refine=10), after.decision)
    assert torch.equal(explainer.decision_map(images), before.decision)
    assert after.decision.sum() < 0.5 * before.decision.sum()
    mask = after.mask[:, None]
    layers = explainer.layers
    with torch.no_grad():
        second = layers.second_pass(mask * layers.first_pass(images).local, images).output
    assert (second.argmax(1) == own).float().mean() >= 0.75
    assert torch.equal(explainer.maps(images).mask, before.mask)  # the fitted mask is as it was


def test_for_its_own_decision_each_channel_has_a_refined_mask_and_towards_a_target_as_the_fit_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    explainer, images = prepared(SHARED), pictures(2, seed=75)[0]
    seen: list[Tensor] = []
    decision = MapMaker.decision
    monkeypatch.setattr(MapMaker, "decision", lambda self, batch: seen.append(batch.mask) or decision(self, batch))
    explainer.decision_map(images)
    explainer.decision_map(images, refine=2)
    explainer.decision_map(images, refine=2, target=1)
    assert [mask.shape[1] for mask in seen] == [1, 16, 1]
    assert seen[1].std(1).max() > 0.01
    seen.clear()
    prepared().decision_map(images, refine=2, target=1)
    assert seen[0].shape[1] == 16


def test_a_batch_that_asks_for_other_answers_is_no_own_decision() -> None:
    explainer, (images, labels, _) = prepared(), pictures(4, seed=77)
    batch = Batch(images, lambda output: (output, labels))
    output = explainer.layers.first_pass(images).output
    assert isinstance(own_decision(batch, output), OwnDecision)
    other = (labels + 1) % output.shape[1]
    asked = own_decision(asking_for(batch, other), output)
    assert not isinstance(asked, OwnDecision)
    torch.testing.assert_close(asked(output), cross_entropy(output, other, reduction="none"))


@pytest.mark.parametrize(("steps", "averaged"), [(1, 1), (3, 3), (8, 5)])
def test_a_refined_mask_is_the_mean_of_its_last_steps(
    steps: int, averaged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer, images = prepared(), pictures(2, seed=76)[0]
    scores: list[Tensor] = []
    step, opened = torch.optim.Adam.step, []

    def watched(self: torch.optim.Adam, *given: object) -> None:
        step(self, *given)
        scores.append(self.param_groups[0]["params"][0].detach().clone())

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    mask = explainer.modules.mask
    monkeypatch.setattr(mask, "opened", lambda given: opened.append(given.detach().clone()) or torch.sigmoid(given))
    explainer.decision_map(images, refine=steps)
    assert len(scores) == steps
    torch.testing.assert_close(opened[-1], torch.stack(scores[-averaged:]).mean(0))


def test_a_refined_map_does_not_depend_on_its_batch() -> None:
    images, _, _ = pictures(4, seed=71)
    explainer = prepared()
    together, alone = explainer.maps(images, refine=3), explainer.maps(images[2], refine=3)
    torch.testing.assert_close(together.decision[2], alone.decision[0], rtol=1e-3, atol=1e-3)


def test_maps_and_what_is_answered_through_their_mask_come_of_one_refinement(monkeypatch: pytest.MonkeyPatch) -> None:
    explainer, images = prepared(), pictures(2, seed=77)[0]
    masks: list[Tensor] = []
    refine, outputs = explainer_module.refined_mask, MapMaker.outputs
    monkeypatch.setattr(explainer_module, "refined_mask", lambda *given: masks.append(refine(*given)) or masks[-1])
    monkeypatch.setattr(MapMaker, "outputs", lambda self, batch: masks.append(batch.mask) or outputs(self, batch))
    maps, answered = explainer.maps_and_outputs(images, refine=3)
    assert len(masks) == 2 and masks[0] is masks[1]
    assert torch.equal(answered, explainer.masked_outputs(images, refine=3))
    alone = explainer.maps(images, refine=3)
    assert all(torch.equal(getattr(maps, kind), getattr(alone, kind)) for kind in (*KINDS, "mask"))


def test_refinement_leaves_the_network_and_the_modules_untouched() -> None:
    network = copy.deepcopy(trained_network()).train()
    explainer, (images, _, _) = prepared(network=network), pictures(2, seed=72)
    before = copy.deepcopy(network.state_dict())
    explainer.maps(images, refine=2)
    assert network.training and all(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in [*network.parameters(), *explainer.modules.parameters()])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("refine", "target", "message"),
    [
        (-1, None, "refine=-1.*a number of steps"),
        (0, towards_class(0), "give the steps too, refine=10"),
        (5, "cat", "a function of the network's output"),
        (5, [0, 1, 2], "one for each of the 2 images"),
        (5, 4, "class .4, 4. of 4, counted from 0"),
        (True, None, "refine=True.*a number of steps"),
        (1, lambda output: output.sum(), r"a loss of each image, \[2\], not"),
        (1, lambda output: None, r"a loss of each image, \[2\], not"),
        (1, lambda output: [0.1, 0.2], r"a loss of each image, \[2\], not"),
        (1, lambda output: output.square().sum(1, keepdim=True), r"a loss of each image, \[2\], not"),
        (1, lambda output: output.detach()[:, 0], "no gradient to the output"),
    ],
)
def test_what_is_no_target_is_refused(refine: int, target: Target, message: str) -> None:
    with pytest.raises(MilrError, match=message):
        prepared().maps(pictures(2, seed=73)[0], refine=refine, target=target)


def test_class_numbers_are_targets_themselves_of_a_batch_and_of_a_call() -> None:
    explainer, images = prepared(), pictures(5, seed=75)[0]
    classes = torch.tensor([0, 1, 2, 3, 0])
    expected = explainer.maps(images, refine=2, target=towards_class(classes))
    for given in (classes, classes.tolist(), classes.numpy()):
        assert torch.equal(explainer.maps(images, refine=2, target=given).decision, expected.decision)
    called = explainer(images, batch_size=2, refine=2, target=classes)
    torch.testing.assert_close(called.decision, expected.decision, rtol=1e-3, atol=1e-3)
    one = explainer.decision_map(images[:2], refine=np.int64(2), target=3)
    assert torch.equal(one, explainer.decision_map(images[:2], refine=2, target=towards_class(3)))


def test_a_network_that_decides_nothing_asks_for_a_target() -> None:
    network = copy.deepcopy(trained_network())
    network.fc = nn.Identity()  # type: ignore[assignment]
    images = pictures(16, seed=74)[0]
    explainer = MILR(network, "layer1", "avgpool", images[:2])
    explainer.prepare(images.split(8), len(images))
    explainer.fitted = True
    with pytest.raises(MilrError, match="output is z itself"):
        explainer.maps(images[:2], refine=1)
    partner = network.eval()(images[2:3]).detach()[0]
    assert explainer.maps(images[:2], refine=1, target=towards(partner)).mask.shape == (2, 16, 16)


@pytest.mark.parametrize("metric", [MetricSettings("cosine", 0.2), MetricSettings("euclidean", 3.0)])
def test_towards_is_the_prototypical_networks_own_comparison(metric: MetricSettings) -> None:
    generator = torch.Generator().manual_seed(0)
    output, own, others = (torch.randn(*shape, generator=generator) for shape in ((4, 6), (4, 6), (3, 6)))
    found = towards(own, others, metric)(output)
    for one, wanted, loss in zip(output, own, found, strict=True):
        candidates = torch.cat([wanted[None], others])
        if metric.distance == "cosine":
            scores = torch.cosine_similarity(one[None], candidates) / 0.2
        else:
            scores = -(one - candidates).square().sum(1) / 3
        assert loss.item() == pytest.approx(cross_entropy(scores, torch.tensor(0)).item(), abs=1e-5)
    with pytest.raises(MilrError, match="knows no mean"):
        towards(own, metric=MetricSettings(centre=True))


@pytest.mark.parametrize("classes", [9, [0, -1], [0, 1, 1], [0.5, 1.0], "cat"])
def test_a_class_that_there_is_not_is_no_target(classes: object) -> None:
    with pytest.raises(MilrError, match="the target is"):
        towards_class(classes)(torch.zeros(2, 3))  # type: ignore[arg-type]
    with pytest.raises(MilrError, match="one number decides for no class"):
        own_class(FirstPass(torch.zeros(2, 1, 4, 4), torch.zeros(2, 3), (), torch.zeros(2, 1)))


def test_embeddings_of_other_images_than_those_of_a_batch_are_refused() -> None:
    with pytest.raises(MilrError, match="has 5 embeddings for 3 images: .*batch_size=5"):
        towards(torch.randn(5, 4))(torch.randn(3, 4))
