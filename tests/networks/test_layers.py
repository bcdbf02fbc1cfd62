"""The layer pair: exact passes, no trace left on the network, clear errors."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from milr.errors import MilrError
from milr.networks.layers import LayerPair, frozen


def network() -> nn.Module:
    torch.manual_seed(0)
    model = resnet18()
    model.fc = nn.Identity()
    return model


def images(count: int = 3) -> Tensor:
    return torch.randn(count, 3, 48, 48, generator=torch.Generator().manual_seed(1))


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize(
    ("local", "global_"), [("layer1", "avgpool"), ("layer3.1", "avgpool"), ("layer1", "layer4"), ("maxpool", "layer2")]
)
def test_second_pass_with_untouched_features_is_the_first_pass_exactly(local: str, global_: str) -> None:
    pair = LayerPair(network(), local, global_, images())
    first = pair.first_pass(images())
    second = pair.second_pass(first.local, images())
    assert torch.equal(first.representation, second.representation)
    assert torch.equal(first.output, second.output)


def test_first_pass_sees_what_the_network_computes() -> None:
    model = network().eval()
    pair = LayerPair(model, "layer1", "avgpool", images())
    first = pair.first_pass(images())
    stem = model.maxpool(model.relu(model.bn1(model.conv1(images()))))
    assert torch.equal(first.local, model.layer1(stem))
    assert torch.equal(first.output, model(images()))
    assert pair.stages == ("layer1", "layer2", "layer3", "layer4")
    assert pair.local_shape == (64, 12, 12) and pair.dimension == 512


def test_features_before_an_in_place_layer_are_seen_as_they_were() -> None:
    model = network().eval()
    first = LayerPair(model, "bn1", "avgpool", images()).first_pass(images())
    assert torch.equal(first.local, model.bn1(model.conv1(images())))


def test_changed_features_change_the_representation_and_get_gradients() -> None:
    pair = LayerPair(network(), "layer1", "avgpool", images())
    local = pair.first_pass(images()).local.requires_grad_()
    pair.second_pass(0.5 * local, images()).representation.sum().backward()
    assert local.grad is not None and local.grad.abs().sum() > 0


def test_network_is_left_as_it_was_after_a_pass_and_after_an_error() -> None:
    model = network().train()
    model.layer2.eval()
    model.conv1.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pair = LayerPair(model, "layer1", "avgpool", images())
    local = pair.first_pass(images()).local.requires_grad_()
    pair.second_pass(local, images()).output.sum().backward()
    with pytest.raises(RuntimeError):
        pair.second_pass(torch.randn(3, 7, 12, 12), images())
    assert hooks(model) == 0
    assert model.training and not model.layer2.training
    assert not model.conv1.weight.requires_grad and model.layer1[0].conv1.weight.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_frozen_puts_modes_back_after_an_error() -> None:
    model = network().train()
    with pytest.raises(ZeroDivisionError), frozen(model):
        assert not model.training
        raise ZeroDivisionError
    assert model.training and model.conv1.weight.requires_grad


class Bypass(nn.Module):
    """A network whose upper part sees more than the local layer."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.local, self.top = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        below = self.below(x)
        return self.top(self.local(below) + below).flatten(1)


def test_a_bypass_around_the_local_layer_is_noticed_and_gets_all_images() -> None:
    pair = LayerPair(Bypass(), "local", "top", images())
    first = pair.first_pass(images())
    assert torch.equal(pair.second_pass(first.local, images()).output, first.output)


@pytest.mark.parametrize(
    ("local", "global_", "message"),
    [
        ("layer_1", "avgpool", "no layer 'layer_1'; nearest: .*layer1"),
        ("layer4", "layer1", "must come after"),
        ("layer1.0.relu", "avgpool", "runs 2 times"),
        ("fc", "avgpool", "must come after"),
        ("avgpool", "avgpool", "must come after"),
    ],
)
def test_layers_that_cannot_be_used_are_named(local: str, global_: str, message: str) -> None:
    with pytest.raises(MilrError, match=message):
        LayerPair(network(), local, global_, images())


def test_local_layer_must_give_a_map() -> None:
    class Flat(nn.Sequential):
        pass

    model = Flat(nn.Flatten(), nn.Linear(3 * 48 * 48, 4), nn.Linear(4, 2))
    with pytest.raises(MilrError, match="gives no map"):
        LayerPair(model, "1", "2", images())


def test_a_random_layer_is_refused() -> None:
    class Noisy(Bypass):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.rand(1)

    with pytest.raises(MilrError, match="random"):
        LayerPair(Noisy(), "local", "top", images())


def test_half_precision_is_exact_in_itself_and_near_the_full_one() -> None:
    full, half = (
        LayerPair(network(), "layer1", "avgpool", images()),
        LayerPair(network(), "layer1", "avgpool", images(), precision=torch.bfloat16),
    )
    first = half.first_pass(images())
    assert first.local.dtype == first.representation.dtype == first.output.dtype == torch.float32
    assert torch.equal(half.second_pass(first.local, images()).representation, first.representation)
    exact = full.first_pass(images()).representation
    assert 0 < (first.representation - exact).norm() / exact.norm() < 0.02


@pytest.mark.parametrize(
    ("stage", "message"),
    [("fc", "'fc', gives no map"), ("layer1.0.relu", "runs 2 times"), ("unused", "runs 0 times")],
)
def test_a_layer_that_the_mask_cannot_read_is_refused(stage: str, message: str) -> None:
    model = network()
    model.unused = nn.Conv2d(3, 3, 1)
    with pytest.raises(MilrError, match=message):
        LayerPair(model, "layer1", "avgpool", images(), stages=["layer2", stage])


def test_a_network_that_gives_no_tensor_is_refused() -> None:
    class Answers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network()

        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return {"logits": self.body(images)}

    with pytest.raises(MilrError, match="gives a dict: wrap it"):
        LayerPair(Answers(), "body.layer1", "body.avgpool", images())
