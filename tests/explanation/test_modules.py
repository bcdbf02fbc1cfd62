"""The bank's projection is always by the critic as it is, whatever way the critic was changed."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from toy import SHORT, batch, pictures, prepared

from milr.explanation.fitting import fit
from milr.explanation.maps import Maps
from milr.explanation.milr import MILR
from milr.explanation.modules import ReferenceBank
from milr.explanation.settings import FitSettings, InfomaxSettings, MilrSettings

IMAGES = pictures(4, seed=7)[0]


def fresh(explainer: MILR) -> Tensor:
    """The total map by a module that never projected its bank before."""
    return fresh_maps(explainer).total


def fresh_maps(explainer: MILR) -> Maps:
    """All of them."""
    state = {**copy.deepcopy(explainer.state()), "fitted": True}
    return MILR.load(explainer.layers.network, state, IMAGES[:2]).maps(IMAGES)


def train(explainer: MILR) -> None:
    critic = explainer.modules.critic
    optimiser = torch.optim.SGD(critic.parameters(), lr=1.0)
    critic.project_standardised(explainer.modules.bank.local[:4].float()).square().sum().backward()
    optimiser.step()


def interrupted(explainer: MILR) -> None:
    def stop(step: int, terms: object) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(explainer, batch, FitSettings(critic=SHORT, steps=9, learning_rate=0.05), on_step=stop)


def load(explainer: MILR, assign: bool = False) -> None:
    state = {name: value * 1.5 for name, value in explainer.modules.critic.state_dict().items()}
    explainer.modules.critic.load_state_dict(state, assign=assign)


def scale_data(explainer: MILR) -> None:
    for parameter in explainer.modules.critic.parameters():
        parameter.data.mul_(1.5)  # no version of a tensor tells of it


def replace_data(explainer: MILR) -> None:
    for parameter in explainer.modules.critic.parameters():
        parameter.data = parameter.data * 1.5


def new_bank(explainer: MILR) -> None:
    bank = explainer.modules.bank
    explainer.modules.bank = ReferenceBank(bank.local.flip(2), bank.representation.flip(1))


def written_bank(explainer: MILR) -> None:
    explainer.modules.bank.representation.data.mul_(0.5)


def standardise(explainer: MILR) -> None:
    explainer.modules.local.mean.add_(0.1)


@pytest.mark.parametrize(
    "change",
    [
        interrupted,
        train,
        load,
        lambda explainer: load(explainer, assign=True),
        scale_data,
        replace_data,
        new_bank,
        written_bank,
        standardise,
        lambda explainer: fit(explainer, batch, FitSettings(critic=SHORT, steps=3, learning_rate=0.05)),
        lambda explainer: (explainer.prepare(pictures(48, 5)[0].split(16), 48), setattr(explainer, "fitted", True)),
    ],
)
def test_maps_after_any_change_are_those_of_a_module_loaded_anew(change: Callable[[MILR], object]) -> None:
    explainer = prepared()
    before = explainer.maps(IMAGES).total
    change(explainer)
    after = explainer.maps(IMAGES).total
    assert not torch.allclose(after, before, atol=1e-5)
    assert torch.equal(after, fresh(explainer))


@pytest.mark.parametrize("name", ["local", "occluded", "representation"])
def test_every_part_of_the_bank_counts_where_a_map_is_compared_with_it(name: str) -> None:
    settings = MilrSettings(infomax=InfomaxSettings(map="place"))  # the default compares with representations alone
    explainer = prepared(settings if name != "representation" else None)
    before = explainer.maps(IMAGES)
    getattr(explainer.modules.bank, name).mul_(0.5)
    after, anew = explainer.maps(IMAGES), fresh_maps(explainer)
    assert torch.equal(after.total, anew.total) and torch.equal(after.kept, anew.kept)
    assert torch.equal(after.total, before.total) == (name == "occluded")
    assert torch.equal(after.kept, before.kept) == (name == "local")


def test_maps_within_a_fit_are_those_of_the_step() -> None:
    explainer, looks = prepared(fitted=False), []

    def look(step: int, metrics: dict[str, float]) -> None:
        looks.append((explainer.maps(IMAGES), fresh_maps(explainer)))

    how = FitSettings(critic=SHORT, steps=6, learning_rate=0.05, validate_every=2)
    fit(explainer, batch, how, [batch(5000)], on_validation=look)
    assert len(looks) == 3 and all(torch.equal(seen.kept, anew.kept) for seen, anew in looks)
    first, second = looks[0][0], looks[1][0]
    assert not torch.equal(first.kept, second.kept)  # the mask's
    assert torch.equal(first.total, second.total)  # the critic was fitted before, and stays as it is
    assert not torch.equal(explainer.maps(IMAGES).total, first.total)  # then it is fitted to what the mask lets pass


def test_an_unchanged_critic_projects_its_bank_once(monkeypatch: pytest.MonkeyPatch) -> None:
    explainer, calls = prepared(), []
    project = explainer.modules.critic.project_standardised_representation

    def count(z: Tensor) -> Tensor:
        calls.append(len(z))
        return project(z)

    monkeypatch.setattr(explainer.modules.critic, "project_standardised_representation", count)
    first, second = explainer.maps(IMAGES), explainer.maps(IMAGES)
    assert sorted(calls) == [4, 4, 64] and torch.equal(first.total, second.total)  # the images' own, and the bank's 64
