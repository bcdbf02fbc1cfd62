"""A fit's three phases: what each is fitted to, what it leaves alone, and the pairs of what the mask lets pass."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace

import pytest
import torch
from states import states_equal
from torch import Tensor
from toy import SHORT, batch, pictures, prepared, trained_network

from milr.decisions.decisions import Batch
from milr.errors import MilrError
from milr.explanation import critic_fitting, fitting
from milr.explanation.features import Sample
from milr.explanation.fitting import fit
from milr.explanation.milr import MILR
from milr.explanation.objective import Terms
from milr.explanation.pairs import batch_features, fill_bank, images_and_places, some_batches
from milr.explanation.settings import FitSettings, InfomaxSettings, MilrSettings
from milr.information.critic import Critic

HOW = FitSettings(critic=SHORT, steps=3, learning_rate=0.05)


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """The parts of the modules in which a tensor is another one."""
    return {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}


def test_the_phases_come_one_after_the_other_and_leave_each_other_alone() -> None:
    explainer, order = prepared(fitted=False), list[str]()
    states = {"start": copy.deepcopy(explainer.modules.state_dict())}

    def note(phase: str) -> None:
        if phase not in order:
            order.append(phase)
        states[phase] = copy.deepcopy(explainer.modules.state_dict())

    how = replace(HOW, critic=replace(SHORT, patience=0, weight_decay=0))
    fit(
        explainer,
        batch,
        how,
        [batch(5000)],
        on_step=lambda step, terms: note("first") if step == 1 else None,
        on_validation=lambda step, metrics: note("mask"),  # as it is kept: the mean of its weights
        on_critic=lambda phase, step, nats: note(phase),
    )
    assert order == ["critic", "first", "mask", "pairs"]
    assert changed(states["start"], states["critic"]) == {"critic"}
    assert changed(states["first"], states["mask"]) == {"mask"}
    assert changed(states["mask"], states["pairs"]) == {"critic", "bank"}
    assert torch.equal(states["pairs"]["bank.local"], states["start"]["bank.local"])
    assert all(parameter.requires_grad for parameter in explainer.modules.parameters())


@pytest.mark.parametrize("validation", [False, True])
def test_held_out_images_are_never_fitted_to(validation: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[bool, set[tuple[float, ...]]] = {True: set(), False: set()}
    found: dict[str, tuple[set[tuple[float, ...]], set[tuple[float, ...]]]] = {}
    scores = critic_fitting.pair_scores

    def watched(fitted: Critic, sample: Sample) -> list[Tensor]:
        seen[fitted.training] |= {tuple(row) for row in sample.representation.tolist()}
        return scores(fitted, sample)

    def on_critic(phase: str, step: int, nats: float | None) -> None:
        if step == 20:
            found[phase] = set(seen[True]), set(seen[False])
            seen[True].clear()
            seen[False].clear()

    monkeypatch.setattr(critic_fitting, "pair_scores", watched)
    how = replace(HOW, critic=replace(SHORT, steps=20, patience=0))
    fit(prepared(), batch, how, [batch(5000)] if validation else [], on_critic=on_critic)
    assert set(found) == {"critic", "pairs"}
    for fitted, held_out in found.values():
        assert len(fitted) > 20 and len(held_out) > 5 and not fitted & held_out


def test_an_image_that_is_held_out_comes_back_in_no_batch_nor_from_prepare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without validation batches, and with batches of the images that `prepare` saw: what anybody would do first."""
    images, labels, _ = pictures(48, seed=1)
    explainer, tasks = MILR(trained_network(), "layer1", "avgpool", images[:2]), list[critic_fitting.CriticTask]()
    explainer.prepare(images, 48)

    def again(step: int) -> Batch:
        chosen = torch.randperm(48, generator=torch.Generator().manual_seed(step))[:16]
        return Batch(images[chosen], lambda output: (output, labels[chosen]))

    monkeypatch.setattr(fitting, "fit_critic", lambda critic, task, *others: tasks.append(task))
    fit(explainer, again, replace(HOW, steps=12))
    task = tasks[1]
    assert task.pairs is not None and len(task.pairs) > 10 and len(task.train) > 10 and len(task.held_out) > 3
    for fitted in (task.train, task.pairs):
        assert torch.cdist(fitted.representation, task.held_out.representation).min() > 1e-3
    assert torch.pdist(task.held_out.representation).min() > 1e-3


def test_a_loaded_explainer_has_no_features_and_keeps_its_critic() -> None:
    loaded = MILR.load(trained_network(), prepared().state(), pictures(2, 0)[0])
    assert loaded.features is None
    before, phases = copy.deepcopy(loaded.modules.critic.state_dict()), list[str]()
    alone = replace(HOW, critic=replace(SHORT, pairs=False))
    fit(loaded, batch, alone, on_critic=lambda phase, step, nats: phases.append(phase))
    assert not phases and states_equal(loaded.modules.critic.state_dict(), before)
    fit(loaded, batch, HOW, on_critic=lambda phase, step, nats: phases.append(phase))
    assert set(phases) == {"pairs"}  # what the new mask lets pass is new to it


def test_a_fit_whose_critic_fails_is_no_fit() -> None:
    explainer = prepared(fitted=False)
    before = copy.deepcopy(explainer.modules.state_dict())
    how = replace(HOW, critic=replace(SHORT, learning_rate=1e30))
    with pytest.raises(MilrError, match="lower critic.learning_rate"):
        fit(explainer, batch, how, on_step=lambda step, terms: pytest.fail("a step of the mask"))
    assert states_equal(explainer.modules.state_dict(), before) and not explainer.fitted


def mask_of_ones(explainer: MILR) -> None:
    last = explainer.modules.mask.combine[-1]
    torch.nn.init.zeros_(last.weight)  # type: ignore[arg-type]
    torch.nn.init.constant_(last.bias, 40.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("redundancy", ["occluded", "representation"])
def test_the_pairs_are_what_the_mask_lets_pass(redundancy: str) -> None:
    explainer, batches = prepared(MilrSettings(redundancy=redundancy)), [batch(1), batch(2)]
    features = batch_features(explainer, batches, "batch", masked=True)
    with torch.no_grad():
        first = explainer.layers.first_pass(torch.cat([each.images for each in batches]))
    assert torch.allclose(features.representation, first.representation, atol=1e-5)
    held, expected = features.local.float() * features.scale, first.local.flatten(2)[:, :, features.places]
    assert torch.allclose(held, expected.transpose(1, 2), rtol=1e-3, atol=1e-3)
    given, other = ("occluded", "masked") if redundancy == "occluded" else ("masked", "occluded")
    assert getattr(features, other) is None
    untouched = (features.local if given == "occluded" else features.representation).float()
    assert not torch.allclose(getattr(features, given).float(), untouched, atol=1e-2)
    mask_of_ones(explainer)
    whole = batch_features(explainer, batches, "batch", masked=True)
    assert torch.allclose(getattr(whole, given).float(), untouched, atol=1e-3, rtol=1e-3)
    plain = batch_features(explainer, batches[:1], "batch", masked=False)
    assert plain.occluded is None and plain.masked is None and len(plain) == 16


def test_the_bank_of_what_passes_is_of_the_fits_own_images_by_their_masks() -> None:
    explainer = prepared(MilrSettings(infomax=InfomaxSettings(bank_images=20)))
    assert torch.equal(explainer.modules.bank.occluded, explainer.modules.bank.local)
    mask_of_ones(explainer)
    fill_bank(explainer, [batch(1), batch(2), batch(3)])
    images = torch.cat([batch(1).images, batch(2).images])[:20]
    with torch.no_grad():
        local = explainer.modules.local(explainer.layers.first_pass(images).local).flatten(2).transpose(1, 2)
    assert torch.allclose(explainer.modules.bank.occluded.float(), local, rtol=1e-3, atol=1e-3)


def test_a_bank_of_fewer_images_than_wanted_can_be_saved_and_loaded() -> None:
    explainer, images = prepared(fitted=False), pictures(3, seed=7)[0]
    fit(explainer, batch, replace(HOW, steps=2))  # 32 images, where the bank of untouched ones has 64
    assert [len(bank.locations) for bank in explainer.bank()] == [64, 32]
    loaded = MILR.load(trained_network(), explainer.state(), images)
    assert torch.equal(loaded.maps(images).kept, explainer.maps(images).kept)


def test_no_batch_past_the_steps_is_asked_for() -> None:
    asked: list[int] = []

    def limited(step: int) -> Batch:
        asked.append(step)
        return batch(step)

    explainer = prepared()
    fit(explainer, limited, HOW)
    assert set(asked) == {1, 2, 3}
    assert (
        sum(len(each.images) for each in some_batches(explainer.layers, batch, 1000, 100)) == 112
    )  # no more are needed


def test_too_few_images_are_refused_before_a_step_or_left_out_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    images, labels, _ = pictures(3, seed=1)
    explainer = MILR(trained_network(), "layer1", "avgpool", images[:2])
    explainer.prepare(images, 3)

    def single(step: int) -> Batch:
        return Batch(images[:1], lambda output: (output, labels[:1]))

    with pytest.raises(MilrError, match="has 3 images: it needs at least 4, .*give validation batches"):
        fit(explainer, single, replace(HOW, steps=1))
    with caplog.at_level(logging.WARNING, logger="milr"):
        assert fit(explainer, single, replace(HOW, steps=1), [batch(9)]) == 1
    assert "not fitted to what the mask lets pass: the fit's batches hold 1 images" in caplog.text


def test_where_the_validation_is_one_image_a_part_of_the_training_images_is_held_out() -> None:
    images, labels, _ = pictures(1, seed=9)
    told: list[float | None] = []
    one = Batch(images, lambda output: (output, labels))
    fit(prepared(), batch, HOW, [one], on_critic=lambda phase, step, nats: told.append(nats))
    assert all(nats != 0 for nats in told if nats is not None)  # of one image alone every estimate is 0


@pytest.mark.parametrize(
    ("gib", "channels", "places", "held"),
    [
        (2.0, 40, 784, (4096, 784)),
        (2.0, 256, 1024, (2048, 1024)),  # all places, of fewer images
        (2.0, 2048, 64, (4096, 64)),
        (2.0, 256, 3136, (1024, 2048)),  # of a thousand images as many places as fit
        (0.5, 2048, 196, (1024, 64)),
        (0.0, 64, 256, (1024, 16)),  # the least that says something
    ],
)
def test_the_last_phases_features_keep_to_the_memory_budget(
    gib: float, channels: int, places: int, held: tuple[int, int]
) -> None:
    assert images_and_places(gib, channels, places) == held
    assert held[0] * held[1] * channels * 4 <= gib * 2**30 or not gib


def test_the_mask_ends_as_the_moving_average_of_its_weights() -> None:
    explainer, seen = prepared(fitted=False), list[Tensor]()

    def note(step: int, terms: Terms) -> None:
        seen.append(torch.cat([weights.detach().flatten() for weights in explainer.modules.mask.parameters()]))

    fit(explainer, batch, replace(HOW, steps=6, validate_every=6), [batch(5000)], on_step=note)
    mean = seen[0].clone()
    for count, weights in enumerate(seen[1:], 1):
        mean += (weights - mean) * 9 / (count + 10)
    kept = torch.cat([weights.detach().flatten() for weights in explainer.modules.mask.parameters()])
    torch.testing.assert_close(kept, mean)
    assert not torch.allclose(kept, seen[-1])
