"""A saved module goes back onto the network that it was fitted on, and no other."""

from __future__ import annotations

import copy
import io
import logging
from typing import Any

import pytest
import torch
from torch import nn
from toy import SHORT, Network, batch, pictures, prepared, trained_network

from milr.errors import MilrError
from milr.explanation.fitting import fit, validate
from milr.explanation.milr import MILR
from milr.explanation.settings import FitSettings

IMAGES = pictures(4, seed=7)[0]


def other_network() -> Network:
    torch.manual_seed(5)
    return Network().eval()


def test_another_network_is_refused_with_a_way_out() -> None:
    state, other = prepared().state(), other_network()
    with pytest.raises(MilrError, match=r"fitted on another network \(sha256 .*check_network=False"):
        MILR.load(other, state, IMAGES[:2])
    loaded = MILR.load(other, state, IMAGES[:2], check_network=False)
    assert torch.equal(loaded.maps(IMAGES).output, other(IMAGES).detach())


def test_a_network_that_was_trained_on_is_another_one() -> None:
    network = copy.deepcopy(trained_network())
    state = prepared(network=network).state()
    network.train()(IMAGES)  # nothing but BatchNorm's running means
    with pytest.raises(MilrError, match="fitted on another network"):
        MILR.load(network.eval(), state, IMAGES[:2])


def test_the_same_weights_in_another_network_are_another_one() -> None:
    state, other = prepared().state(), copy.deepcopy(trained_network())
    other.layer1[2] = torch.nn.LeakyReLU(0.5)
    with pytest.raises(MilrError, match="what it computes with them is not .*check_network=False"):
        MILR.load(other, state, IMAGES[:2])
    assert MILR.load(other, state, IMAGES[:2], check_network=False).fitted
    del state["answers"]  # of an earlier version
    assert MILR.load(other, state, IMAGES[:2]).fitted


def test_the_same_network_comes_through_a_file() -> None:
    explainer, file = prepared(), io.BytesIO()
    fit(explainer, batch, FitSettings(critic=SHORT, steps=2))
    torch.save(explainer.state(), file)
    file.seek(0)
    loaded = MILR.load(copy.deepcopy(trained_network()).train(), torch.load(file, weights_only=True), IMAGES[:2])
    assert loaded.fitted and torch.equal(loaded.maps(IMAGES).redundant, explainer.maps(IMAGES).redundant)


def test_the_precision_of_the_passes_comes_back() -> None:
    saved = MILR(trained_network(), "layer1", "avgpool", IMAGES[:2], precision=torch.bfloat16)
    saved.prepare(IMAGES)
    state = saved.state()
    assert MILR.load(trained_network(), state).precision == torch.bfloat16
    assert MILR.load(trained_network(), state, precision=torch.float32).precision == torch.float32
    del state["precision"]  # of an earlier version
    assert MILR.load(trained_network(), state).precision == torch.float32
    with pytest.raises(MilrError, match="its precision is 'randn'"):
        MILR.load(trained_network(), {**state, "precision": "randn"})


def test_loading_leaves_the_users_own_draws_as_they_were() -> None:
    state, network = prepared().state(), trained_network()
    before = torch.get_rng_state()
    MILR.load(network, state)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_state_that_does_not_name_its_network_is_taken_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    explainer = prepared()
    state = explainer.state()
    del state["network_sha256"], state["fitted"]  # as the first version saved it
    with caplog.at_level(logging.WARNING, logger="milr"):
        loaded = MILR.load(trained_network(), state, IMAGES[:2])
    assert "does not say which network it was fitted on" in caplog.text
    assert torch.equal(loaded.maps(IMAGES).total, explainer.maps(IMAGES).total)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("milr.pt", r"takes what MILR.state\(\) gave .*, not 'milr.pt'"),
        (trained_network().state_dict(), "no state of .*: it has no local, z, settings, modules"),
        ({"local": "layer1", "z": "avgpool", "settings": {}, "modules": {}}, "no reference bank"),
        ({**prepared().state(), "settings": None}, "no state of .*: its 'settings' is None"),
        ({**prepared().state(), "layers": 7}, "no state of .*: its 'layers' is 7"),
        ({**prepared().state(), "functions": "read"}, "no state of .*: its 'functions' is 'read'"),
        ({**prepared().state(), "example": "images"}, "no state of .*: its 'example' is 'images'"),
        ({**prepared().state(), "network_sha256": 7}, "no state of .*: its 'network_sha256' is 7"),
        ({**prepared().state(), "settings": {"omega": 1}}, "not the settings of this version's .*'omega'"),
    ],
)
def test_what_is_no_state_is_refused_by_name(state: Any, message: str) -> None:
    with pytest.raises(MilrError, match=message):
        MILR.load(trained_network(), state, IMAGES[:2])


def state_of_the_version_before() -> dict[str, Any]:
    """Its bank was of single places, one tensor; its critic's first layer had another name, its settings a queue."""
    state = prepared().state()
    modules = {name: value for name, value in state["modules"].items() if not name.startswith(("bank.", "critic."))}
    infomax = {"dimension": 64, "width": 128, "bank_size": 4096, "queue_size": 8192, "shape_mask": True}
    modules |= {"bank": torch.zeros(4096, 16), "critic.local.0.weight": torch.zeros(128, 16)}
    return {**state, "settings": {**state["settings"], "infomax": infomax}, "modules": modules}


def test_a_state_of_the_version_before_is_refused_by_one_true_line() -> None:
    with pytest.raises(MilrError, match="saved by an earlier version of milr, .*: fit the module anew") as error:
        MILR.load(trained_network(), state_of_the_version_before(), IMAGES[:2])
    assert "\n" not in str(error.value) and "no reference bank" not in str(error.value)


def test_a_state_whose_settings_alone_are_of_another_version_is_refused_by_the_settings_name() -> None:
    state = prepared().state()
    state["settings"]["infomax"] = {**state["settings"]["infomax"], "queue_size": 8192}
    with pytest.raises(MilrError, match="not the settings of this version's .*queue_size"):
        MILR.load(trained_network(), state, IMAGES[:2])


@pytest.mark.parametrize("name", ["bank.local", "bank.occluded", "bank.representation"])
def test_a_state_without_a_part_of_its_bank_is_refused(name: str) -> None:
    state = prepared().state()
    state["modules"] = {key: value for key, value in state["modules"].items() if key != name}
    with pytest.raises(MilrError, match="its modules have no reference bank"):
        MILR.load(trained_network(), state, IMAGES[:2])


def test_a_state_of_layers_with_other_shapes_is_refused_in_one_line() -> None:
    class Wide(Network):
        def __init__(self) -> None:
            super().__init__()
            self.layer1 = torch.nn.Sequential(torch.nn.Conv2d(3, 24, 3, stride=2, padding=1), torch.nn.ReLU())
            self.layer2 = torch.nn.Sequential(torch.nn.Conv2d(24, 32, 3, stride=2, padding=1), torch.nn.ReLU())

    with pytest.raises(MilrError, match="does not fit the layers 'layer1' and 'avgpool' .*size mismatch") as error:
        MILR.load(Wide().eval(), prepared().state(), IMAGES[:2], check_network=False)
    assert "\n" not in str(error.value)


def change_weight(network: Network) -> None:
    with torch.no_grad():
        network.layer2[0].weight.mul_(1.01)  # type: ignore[operator]


def change_running_mean(network: Network) -> None:
    network.train()(pictures(8, seed=1)[0])
    network.eval()


def load_others(network: Network) -> None:
    network.load_state_dict(other_network().state_dict())


def write_past_the_version(network: Network) -> None:
    network.layer2[0].weight.data.mul_(1.01)  # type: ignore[operator, union-attr]


@pytest.mark.parametrize("change", [change_weight, change_running_mean, load_others, write_past_the_version])
def test_a_network_that_changed_since_it_was_prepared_on_is_refused(change: Any) -> None:
    network = copy.deepcopy(trained_network())
    explainer = prepared(network=network)
    state = copy.deepcopy(network.state_dict())
    expected = explainer.maps(IMAGES).total
    change(network)
    for attempt in (
        lambda: explainer.maps(IMAGES),
        lambda: fit(explainer, batch, FitSettings(critic=SHORT, steps=1)),
        lambda: validate(explainer, [batch(1)]),
    ):
        with pytest.raises(MilrError, match="the network's weights or buffers changed since prepare"):
            attempt()
    network.load_state_dict(state)  # written to, and the same again
    assert torch.equal(explainer.maps(IMAGES).total, expected)
    change(network)
    explainer.prepare(pictures(64, seed=0)[0].split(32), 64)
    explainer.fitted = True
    assert torch.isfinite(explainer.maps(IMAGES).total).all()


def change_activation(network: Network) -> None:
    network.layer2.append(nn.Tanh())


def change_number(network: Network) -> None:
    network.layer2[1].eps = 10.0  # type: ignore[assignment]


def change_by_hook(network: Network) -> None:
    network.layer2.register_forward_hook(lambda module, inputs, output: -output)


@pytest.mark.parametrize("change", [change_activation, change_number, change_by_hook])
def test_a_network_whose_code_changed_since_it_was_prepared_on_is_refused(change: Any) -> None:
    network = copy.deepcopy(trained_network())
    explainer = prepared(network=network)
    network.note = "of its user's"  # type: ignore[assignment]
    assert torch.isfinite(explainer.maps(IMAGES).total).all()
    change(network)
    for _ in range(2):
        with pytest.raises(MilrError, match="its weights are the same, and what it computes with them is not"):
            explainer.maps(IMAGES)
