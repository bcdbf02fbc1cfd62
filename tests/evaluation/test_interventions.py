"""The part-based protocol on tables whose answer is known, and the pictures without parts that the tables come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import toy
from torch import Tensor

from milr.baselines.attribution import Untouched, grad_cam
from milr.data.augmentation import to_input
from milr.data.families import DrawnBirds
from milr.data.records import Record
from milr.decisions.decisions import Batch, asking_for
from milr.evaluation.interventions import completeness
from milr.evaluation.protocol import (
    CHECKS,
    Contrast,
    checks,
    contrast_holds,
    contrast_of,
    contrastivity,
    correctness,
    irrelevant,
    part_sums,
)
from milr.evaluation.removals import Change, Removed, Subject, members, removed, sufficient

LOOK = (1, 1, 1, None, None)  # of five parts three tell
OTHERS = [(1, 2, 2, None, None), (2, 1, 2, None, None)]  # so that the third part is enough, or the first two are
SIZE, SIDE = 4, 20


def areas() -> Tensor:
    """Five parts and one thing, each a square of its own: bool [6, 20, 20]."""
    result = torch.zeros(6, SIDE, SIDE, dtype=torch.bool)
    for number in range(6):
        row, column = divmod(number, 3)
        result[number, 10 * row : 10 * row + SIZE, 6 * column : 6 * column + SIZE] = True
    return result


def case(weights: tuple[float, ...]) -> Removed:
    """Two classes; each part adds its weight to the first one's logit, which wins from half of the weights on."""
    gains = torch.tensor(weights)
    totals = torch.tensor([float(sum(gains[part] for part in range(5) if part not in members(n))) for n in range(32)])
    logits = torch.stack([totals, torch.full((32,), float(gains.sum()) / 2)], 1)
    things = logits[0].repeat(1, 1)
    return Removed("a.png", areas(), logits, things, 0, True, LOOK, sufficient(LOOK, OTHERS))


def painted(values: Tensor | tuple[float, ...]) -> Tensor:
    """A map with these sums over the parts (and thing) and nothing elsewhere [20, 20]."""
    return (torch.as_tensor(values)[:, None, None] * areas()[: len(values)]).sum(0) / SIZE**2


def test_a_map_that_is_the_truth_is_complete_and_correct() -> None:
    truth = case((1.0, 2.0, 4.0, 0.0, 0.0))  # without the third part nothing but the other class is left
    heat = painted((1.0, 2.0, 4.0, 0.0, 0.0))
    sums = part_sums(heat, truth.areas)
    assert sums.tolist() == pytest.approx([1, 2, 4, 0, 0, 0])
    assert correctness(sums[:5], truth.drops()[:5]) == pytest.approx(1)
    assert irrelevant(truth).tolist() == [False, False, False, True, True, True]
    table = checks(truth, sums, float(heat.double().sum()))
    assert {check: float(table[check].max()) for check in CHECKS} == dict.fromkeys(CHECKS, 1.0)
    assert float(completeness({name: values[None] for name, values in table.items()}).max()) == 1


def test_a_map_that_is_the_opposite_is_neither() -> None:
    truth = case((1.0, 2.0, 4.0, 0.0, 0.0))
    heat = painted((0.0, 0.0, 0.0, 1.0, 1.0, 1.0))
    sums = part_sums(heat, truth.areas)
    assert correctness(sums[:5], truth.drops()[:5]) < 0.2
    table = checks(truth, sums, float(heat.double().sum()))
    first = {check: float(table[check][0]) for check in CHECKS}
    assert first == dict.fromkeys(CHECKS, 0.0)


def test_random_maps_get_chance() -> None:
    truth, generator = case((1.0, 2.0, 4.0, 0.5, 0.25)), torch.Generator().manual_seed(0)
    drawn = torch.rand(2, 400, 5, generator=generator, dtype=torch.float64)
    values = [correctness(sums, truth.drops()[:5]) for sums in drawn[0]]
    assert sum(values) / len(values) == pytest.approx(0.5, abs=0.04)
    contrast = Contrast((1, 2), (frozenset({0, 1}), frozenset({2, 3})))
    hits = [contrastivity(contrast, (one, other)) for one, other in zip(*drawn, strict=True)]
    assert sum(hits) / len(hits) == pytest.approx(0.5, abs=0.05)
    assert contrastivity(contrast, (drawn[0, 0], drawn[0, 0])) == 0  # a map that knows no class
    assert torch.isnan(torch.tensor(correctness(torch.ones(5), truth.drops()[:5])))


def test_thresholds_cut_from_everything_to_nothing() -> None:
    """At 1 % of the sum all parts of an even map are important; above a fifth of it none: nothing is distracting."""
    truth = case((1.0, 2.0, 4.0, 0.0, 0.0))
    heat = painted((1.0,) * 5)
    table = checks(truth, part_sums(heat, truth.areas), float(heat.double().sum()))
    assert [float(table[check][0]) for check in CHECKS] == pytest.approx([1, 1, 1, 1 / 3])
    assert [float(table[check][-1]) for check in CHECKS] == [0, 0, 0, 1]


def test_sufficient_sets_are_the_smallest() -> None:
    assert sufficient(LOOK, OTHERS) == (frozenset({2}), frozenset({0, 1}))
    assert sufficient(LOOK, []) == (frozenset({0}), frozenset({1}), frozenset({2}))
    assert sufficient(LOOK, [LOOK]) == ()

    def planted(family: str) -> tuple[frozenset[int], ...]:
        birds = DrawnBirds(family, 4, 32, 0)
        own = birds.looks(1)[0]
        count = len(birds.classes) // 3
        return sufficient(own, [look for other in range(2, count + 1) for look in birds.looks(other)])

    assert planted("redundant") == (frozenset({0}), frozenset({2}))
    assert planted("separate") == planted("joint") == (frozenset({0, 2}),)


def test_a_contrast_shares_other_parts() -> None:
    look = (0, 0, 0, 0, 0)
    looks = {1: [look], 2: [(0, 0, 1, 1, 1)], 3: [(1, 1, 0, 0, 1)], 4: [(0, 1, 1, 1, 1)], 5: [(0, 1, 0, 1, 1)]}
    found = contrast_of(look, looks, 0)
    assert found is not None and {*found.classes} == {2, 3}
    assert dict(zip(found.classes, found.shared, strict=True)) == {2: frozenset({0, 1}), 3: frozenset({2, 3})}
    assert contrast_of(look, {2: looks[2], 5: looks[5]}, 0) is None  # both have the first part
    logits = torch.tensor([[0.0, 5, 5], [0, 1, 4], [0, 4, 1]])
    assert contrast_holds(logits, (1, 2)) and not contrast_holds(logits, (2, 1))


def test_the_decisions_are_those_about_the_pictures(tmp_path: Path) -> None:
    """Four drawn birds before the network of the toy world."""
    birds, network = DrawnBirds("two", 4, 32, 0), toy.trained_network()
    subject, records = Subject(toy.prepared(), birds, "none"), list[Record]()
    for class_id in (1, 2, 3, 4):
        record = Record(class_id, tmp_path / f"bird_{class_id:04d}.png", class_id, f"{class_id:03d}.Bird")
        birds.without(record).save(record.path)
        records.append(record)
    images = to_input(torch.stack([subject.picture(record, 32) for record in records]), torch.device("cpu"))
    batch = Batch(images, lambda output: (output, torch.arange(4)))
    cases = removed(subject, batch, records, [1, 2, 3, 4])
    lacking = to_input(subject.picture(records[1], 32, [0, 2])[None], torch.device("cpu"))
    with torch.no_grad():
        assert torch.allclose(torch.stack([one.logits[0] for one in cases]), network(images), atol=1e-5)
        assert torch.allclose(cases[1].logits[0b101], network(lacking)[0], atol=1e-5)
    alone = subject.decided(batch, records, [Change(1, frozenset({0, 2}))])[0]
    assert torch.allclose(alone, cases[1].logits[0b101], atol=1e-5)
    assert all(one.areas.shape == (5 + birds.things(r), 32, 32) for one, r in zip(cases, records, strict=True))
    assert all(len(one.things) == birds.things(record) for one, record in zip(cases, records, strict=True))
    assert cases[0].log_probability_drop([]) == 0


def test_baselines_explain_the_answer_that_is_asked_for() -> None:
    images, labels, _ = toy.pictures(4, seed=5)
    batch = Batch(images, lambda output: (output, labels))
    explainer = toy.prepared()
    first = explainer.layers.first_pass(images)
    given = first.output.argmax(1)
    assert torch.equal(
        grad_cam(explainer, asking_for(batch, given), first.local), grad_cam(explainer, batch, first.local)
    )
    other = (given + 1) % toy.CLASSES
    asked = asking_for(batch, other)
    assert not torch.equal(grad_cam(explainer, asked, first.local), grad_cam(explainer, batch, first.local))
    untouched, rows = Untouched.of(first.output, asked.decided), torch.arange(4)
    loss = torch.nn.functional.cross_entropy(first.output, other, reduction="none")
    assert torch.allclose(untouched.loss(first.output, rows), loss)
