"""Each kind of decision: its loss against its closed form, its score, and a mask fitted to it that keeps the cause."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, normalize, one_hot
from toy import CLASSES, COLOURS, SHORT, pictures, prepared

import milr
from milr.baselines.attribution import grad_cam
from milr.decisions.batches import episode_decision
from milr.decisions.decisions import Batch, Decided
from milr.errors import MilrError
from milr.evaluation.location import rank_accuracy
from milr.evaluation.perturbation import at_layer, highest
from milr.explanation.fitting import fit, validate
from milr.explanation.settings import FitSettings, MilrSettings
from milr.networks.settings import MetricSettings

IMAGES = torch.zeros(6, 3, 8, 8)


def outputs(columns: int, seed: int = 0) -> Tensor:
    return torch.randn(6, columns, generator=torch.Generator().manual_seed(seed))


def decided(decide: Any, output: Tensor) -> Decided:
    return Batch(IMAGES, decide).decided(output)


def test_classes_are_the_cross_entropy_of_their_logits() -> None:
    output, labels, head = outputs(4), torch.tensor([0, 1, 2, 3, 0, 1]), nn.Linear(4, 4)
    plain, pair = decided(milr.classify(labels), output), decided(lambda out: (out, labels), output)
    assert torch.allclose(plain.loss.mean(), cross_entropy(output, labels)) and torch.equal(plain.loss, pair.loss)
    assert plain.score.tolist() == (output.argmax(1) == labels).tolist() and plain.chance == 1 / 4
    batch = Batch(IMAGES, milr.classify(labels, head))
    assert torch.equal(batch.decided(output).answers(), head(output)) and batch.modules == (head,)


def test_several_labels_are_the_mean_of_their_binary_cross_entropies() -> None:
    output, targets = outputs(3), (outputs(3, 1) > 0).long()
    result = decided(milr.multilabel(targets), output)
    wrong_way = torch.where(targets == 1, -output, output)
    assert torch.allclose(result.loss, (1 + wrong_way.exp()).log().mean(1))
    exact = decided(
        milr.multilabel([[1, 1, 0], [0, 0, 0]] * 3), torch.tensor([[1.0, -1, 1], [-1, -1, -1]]).repeat(3, 1)
    )
    assert exact.score.tolist() == pytest.approx([1 / 3, 1] * 3)  # one of three that are given or true; nothing to find


def test_numbers_are_the_squared_error_whose_mean_is_one_minus_r2() -> None:
    output, targets = outputs(2), outputs(2, 1) * torch.tensor([1.0, 10])
    result = decided(milr.regress(targets), output)
    rest, whole = (output - targets).square().sum(0), (targets - targets.mean(0)).square().sum(0)
    assert torch.allclose(result.score.mean(), (1 - rest / whole).mean(), atol=1e-5)
    assert torch.allclose(result.loss, 1 - result.score)
    one = decided(milr.regress([0.0, 1, 2, 3, 4, 5], spread=2.0), torch.zeros(6))  # a network that gives [K]
    assert one.loss.tolist() == [(i / 2) ** 2 for i in range(6)] and one.chance == 0


def test_images_that_are_not_asked_about_are_left_out_of_the_owners() -> None:
    relation = torch.full((6, 6), -1)
    for one, other, same in ((1, 4, 1), (1, 2, 0), (4, 0, 0)):
        relation[one, other] = relation[other, one] = same
    result = decided(milr.pairs(relation), outputs(3))
    assert len(result.score) == 2 and result.owners(6) == [1, 4]
    assert decided(milr.prototypes([5, 7, 7, 8, 7, 9]), outputs(3)).owners(6) == [1, 2, 4]
    assert decided(lambda output: (output[3:], torch.tensor([0, 1, 2])), outputs(3)).owners(6) == [3, 4, 5]


def test_pairs_are_the_softmax_over_the_others_and_the_hardest_triplet() -> None:
    output, identity = outputs(5), [4, 4, 4, 9, 9, 2]  # the last one has no partner
    unit = normalize(output)
    cosine = unit @ unit.T
    losses, triplets, hits = [], [], []
    for row in range(5):
        others = [i for i in range(6) if i != row]
        same = [i for i in others if identity[i] == identity[row]]
        whole = sum((cosine[row, i] / 0.5).exp() for i in others)
        losses.append(sum(-((cosine[row, i] / 0.5).exp() / whole).log() for i in same) / len(same))
        far = max(cosine[row, i] for i in others if i not in same)
        triplets.append(max(torch.tensor(0.0), 0.3 + far - min(cosine[row, i] for i in same)))
        hits.append(float(max(others, key=lambda i: float(cosine[row, i])) in same))
    result = decided(milr.pairs(identity, temperature=0.5), output)
    assert torch.allclose(result.loss, torch.stack(losses), atol=1e-5)
    assert result.score.tolist() == hits and 0 < sum(hits) < 5
    assert result.chance == pytest.approx((3 * 2 / 5 + 2 * 1 / 5) / 5)
    triplet = decided(milr.pairs(identity, kind="triplet", margin=0.3), output)
    assert torch.allclose(triplet.loss, torch.stack(triplets), atol=1e-6)


def test_pairs_that_are_not_known_are_not_compared() -> None:
    relation = torch.full((6, 6), -1)
    relation[0, 1], relation[0, 2], relation[3, 4] = 1, 0, 1  # 3 has no negative
    output = outputs(5)
    cosine = normalize(output) @ normalize(output).T
    result = decided(milr.pairs(relation, temperature=1.0), output)
    assert torch.allclose(result.loss, cross_entropy(cosine[:1, 1:3], torch.tensor([0])), atol=1e-6)


@pytest.mark.parametrize("metric", [MetricSettings(), MetricSettings(distance="cosine", temperature=0.1)])
def test_prototypes_of_a_batch_leave_each_image_out(metric: MetricSettings) -> None:
    output, labels = outputs(5), torch.tensor([3, 3, 3, 8, 8, 8])
    result = decided(milr.prototypes(labels, metric), output)
    for row in range(6):  # the same as an episode with two supports of each class and this one as its query
        own = [i for i in range(6) if labels[i] == labels[row] and i != row]
        rest = [i for i in range(6) if labels[i] != labels[row]]
        support = output[own + rest].repeat_interleave(torch.tensor([3, 3, 2, 2, 2]), 0)  # six of each class
        logits, _ = episode_decision(2, 6, 1, metric, None)(torch.cat([support, output[[row, rest[0]]]]))
        expected = logits[0] if labels[row] == 3 else logits[0].flip(0)
        assert torch.allclose(result.answers()[row], expected, atol=1e-5)
    assert result.loss.shape == (6,)


WRONG: list[tuple[Any, str]] = [
    (lambda: milr.multilabel([1, 0]), r"0 or 1 for each label, \[K, L\]"),
    (lambda: milr.multilabel([[2, 0]]), r"0 or 1 for each label"),
    (lambda: decided(milr.multilabel([[1, 0]] * 6), outputs(3)), r"gives \[6, 3\] numbers for targets \[6, 2\]"),
    (lambda: milr.regress([2.0, 2.0]), "spread of the targets is .*give spread="),
    (lambda: milr.regress([float("nan"), 2.0]), "finite numbers"),
    (lambda: milr.regress(["a"]), "must be numbers, not a list"),
    (lambda: milr.pairs([1, 2, 3]), "no image of the batch has both .* at least two images of each"),
    (lambda: milr.pairs([1, 1, 1]), "no image of the batch has both"),
    (lambda: milr.pairs([0.5, 0.5, 1]), "whole numbers"),
    (lambda: milr.pairs([1, 1, 2], kind="quadruplet"), "choose among infonce, triplet"),
    (lambda: milr.pairs([1, 1, 2], temperature=0), "above 0"),
    (lambda: decided(milr.pairs([1, 1, 2]), outputs(3)), "identities of 3 images, and the network gives 6"),
    (lambda: milr.prototypes([1, 1, 1]), "at least two classes"),
    (lambda: decided(lambda out: Decided(out.mean(1), torch.full((6,), 2.0)), outputs(3)), "never higher"),
    (lambda: decided(lambda out: Decided(out.mean(1), torch.zeros(5)), outputs(3)), "6 losses and 5 scores"),
    (lambda: decided(lambda out: Decided(out.argmax(1), torch.zeros(6)), outputs(3)), "loss of decide is int64"),
    (lambda: decided(lambda out: Decided(out, torch.zeros(6)), outputs(3)), r"loss of decide must be a tensor \[Q\]"),
    (lambda: decided(lambda out: Decided(out.mean(1), 1.0), outputs(3)), "score of decide must be a tensor"),  # type: ignore[arg-type]
    (lambda: decided(lambda out: Decided(out.sum(), torch.zeros(())), outputs(3)).answers(), "without logits"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_what_is_no_such_decision_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(MilrError, match=message):
        make()


class Reads(nn.Module):
    """A head on the toy's logits: how much of each of three colours there is, its numbers fixed."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Parameter(COLOURS.clone())

    def forward(self, output: Tensor) -> Tensor:
        return output.softmax(1) @ self.colours


def two_numbers(labels: Tensor) -> Any:
    return milr.regress(COLOURS[labels], Reads(), spread=COLOURS.std(0, correction=0))


def nearness(labels: Tensor) -> Any:
    """A user's own loss, without logits."""
    wanted = one_hot(labels, CLASSES).float()

    def decide(output: Tensor) -> Decided:
        distance = (output.softmax(1) - wanted).square().sum(1)
        return Decided(distance.mean(), (distance < 0.5).float().mean())

    return decide


KINDS: dict[str, Any] = {
    "multilabel": lambda labels: milr.multilabel((COLOURS[labels] > 0).long(), Reads()),
    "regression": two_numbers,
    "infonce": milr.pairs,
    "prototypes": milr.prototypes,
    "own": nearness,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_fitted_to_the_decision_keeps_its_cause(kind: str) -> None:
    def batch(step: int) -> Batch:
        images, labels, _ = pictures(16, seed=1000 + step)
        return Batch(images, KINDS[kind](labels))

    explainer = prepared(MilrSettings(beta=0.48))
    before = copy.deepcopy(explainer.layers.network.state_dict())
    fit(explainer, batch, FitSettings(steps=40, learning_rate=2e-2, beta_warmup=10, critic=SHORT))
    assert all(torch.equal(value, before[name]) for name, value in explainer.layers.network.state_dict().items())
    metrics = validate(explainer, [batch(5000)])
    assert metrics["untouched_accuracy"] > 0.8 and metrics["accuracy"] > metrics["untouched_accuracy"] - 0.2
    assert metrics["mask_mean"] < 0.5
    images, labels, masks = pictures(40, seed=77)
    cause = avg_pool2d(masks[:, None], 2)[:, 0] > 0.5
    decision = explainer.maps(images).decision
    ranks = [rank_accuracy(heat, mask) for heat, mask in zip(decision, cause, strict=True)]
    assert sum(ranks) / len(ranks) > 0.6  # by chance 1/16
    whole, first = Batch(images, KINDS[kind](labels)), explainer.layers.first_pass(images)
    trial, high = (
        at_layer(explainer.layers, whole, explainer.modules.local, "noise", 0),
        highest(decision, 0.1, 0)[None],
    )
    assert trial(high)["accuracy"].mean() > trial(~high)["accuracy"].mean() + 0.2
    if kind != "own":  # which has no logits
        assert torch.isfinite(grad_cam(explainer, whole, first.local)).all()
