"""Backbones: their shapes and names, and weights that fit or are refused."""

import pickle
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from milr.backbones.backbones import BACKBONES, build_backbone
from milr.errors import MilrError

DIMENSIONS = {"conv4": 1600, "resnet10": 512, "resnet12": 640, "resnet18": 512, "resnet34": 512, "resnet50": 2048}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_gives_a_vector_and_has_the_named_layers(name: str) -> None:
    network = build_backbone(name).eval()
    with torch.no_grad():
        assert network(torch.randn(2, 3, 84, 84)).shape == (2, DIMENSIONS[name])
    names = dict(network.named_modules())
    assert {"layer1", "layer2", "layer3", "layer4", "avgpool"} <= names.keys()
    assert not any(isinstance(module, nn.Linear) for module in network.modules())


def test_conv4_takes_other_sizes() -> None:
    network = build_backbone("conv4").eval()
    assert network(torch.randn(1, 3, 64, 64)).shape == network(torch.randn(1, 3, 128, 128)).shape == (1, 1600)


def save(tmp_path: Path, state: object) -> str:
    torch.save(state, tmp_path / "weights.pth")
    return str(tmp_path / "weights.pth")


def test_weights_of_a_whole_classifier_in_half_precision_are_taken(tmp_path: Path) -> None:
    state = torchvision.models.resnet18().state_dict()
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    network = build_backbone("resnet18", save(tmp_path, half))
    weight = network.state_dict()["layer3.0.conv1.weight"]
    assert weight.dtype == torch.float32 and torch.equal(weight, half["layer3.0.conv1.weight"].float())


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    state = torchvision.models.resnet18().state_dict()
    del state["layer2.0.conv1.weight"]
    state["layer9.weight"] = torch.zeros(1)
    state["bn1.weight"] = torch.zeros(3)
    with pytest.raises(MilrError) as told:
        build_backbone("resnet18", save(tmp_path, state))
    message = str(told.value)
    assert "1 missing (layer2.0.conv1.weight)" in message and "1 unknown (layer9.weight)" in message
    assert "1 of another shape (bn1.weight)" in message and "\n" not in message


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MilrError, match="does not fit resnet12"):
        build_backbone("resnet12", save(tmp_path, torchvision.models.resnet18().state_dict()))


class Bomb:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("executed"),)  # type: ignore[return-value]


def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.pth").write_bytes(pickle.dumps({"a": Bomb()}))
    with pytest.raises(MilrError, match="cannot be read as weights"):
        build_backbone("resnet18", str(tmp_path / "weights.pth"))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet13", "none", "no backbone 'resnet13': choose one of conv4"),
        ("conv4", "imagenet", "exists for resnet18, resnet34, resnet50, not for conv4"),
        ("resnet18", "absent.pth", "there is no such file"),
    ],
)
def test_what_does_not_exist_is_told(name: str, weights: str, message: str) -> None:
    with pytest.raises(MilrError, match=message):
        build_backbone(name, weights)


def test_no_plain_dictionary_of_tensors(tmp_path: Path) -> None:
    with pytest.raises(MilrError, match="no plain dictionary of tensors"):
        build_backbone("resnet18", save(tmp_path, {"epoch": 3}))


def test_the_weights_at_hand_fit_resnet50(shared: Path) -> None:
    network = build_backbone("resnet50", str(shared / "weights" / "resnet50-imagenet.pth"))
    assert network.state_dict()["conv1.weight"].dtype == torch.float32
