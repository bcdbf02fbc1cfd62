"""The bank's projection is always by the critic as it is, whatever way the critic was changed."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from toy import SHORT, batch, pictures, prepared

from milr.explanation.fitting import fit
from milr.explanation.milr import MILR
from milr.explanation.settings import FitSettings

IMAGES = pictures(4, seed=7)[0]


def fresh(explainer: MILR) -> Tensor:
    """The total map by a module that never projected its bank before."""
    other = MILR.load(explainer.layers.network, copy.deepcopy(explainer.state()), IMAGES[:2])
    return other.maps(IMAGES).total


def train(explainer: MILR) -> None:
    critic = explainer.modules.critic
    optimiser = torch.optim.SGD(critic.parameters(), lr=1.0)
    critic.project_locations(explainer.modules.bank[:64]).square().sum().backward()
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
    explainer.modules.bank = explainer.modules.bank.flip(1)


def written_bank(explainer: MILR) -> None:
    explainer.modules.bank.data.mul_(0.5)


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


def test_maps_within_a_fit_are_those_of_the_step() -> None:
    explainer, looks = prepared(fitted=False), []

    def look(step: int, metrics: dict[str, float]) -> None:
        looks.append((explainer.maps(IMAGES).total, fresh(explainer)))

    fit(
        explainer,
        batch,
        FitSettings(critic=SHORT, steps=6, learning_rate=0.05, validate_every=2),
        [batch(5000)],
        on_validation=look,
    )
    assert len(looks) == 3 and all(torch.equal(seen, anew) for seen, anew in looks)
    assert not torch.equal(looks[0][0], looks[1][0])


def test_an_unchanged_critic_projects_its_bank_once(monkeypatch: pytest.MonkeyPatch) -> None:
    explainer, calls = prepared(), []
    project = explainer.modules.critic.project_locations
    monkeypatch.setattr(explainer.modules.critic, "project_locations", lambda part: calls.append(1) or project(part))
    first, second = explainer.maps(IMAGES), explainer.maps(IMAGES)
    assert calls == [1] and torch.equal(first.total, second.total)
