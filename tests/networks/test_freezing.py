"""Frozen networks: modes, gradients and statistics as they were, whoever else runs them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from resnets import pair_of
from torch import nn
from torchvision.models import resnet18

from milr.networks.freezing import frozen, weights_sha256


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 6 * 6, 5))


def test_frozen_puts_modes_back_after_an_error() -> None:
    model = resnet18().train()
    with pytest.raises(ZeroDivisionError), frozen(model):
        assert not model.training
        raise ZeroDivisionError
    assert model.training and model.conv1.weight.requires_grad


def test_several_modules_are_frozen_together_and_put_back_each_as_it_was() -> None:
    model, head = small().train(), nn.Sequential(nn.Linear(5, 2), nn.Dropout()).train()
    head[0].bias.requires_grad_(False)
    with frozen(model, head):
        assert not any(module.training for root in (model, head) for module in root.modules())
        assert not any(parameter.requires_grad for root in (model, head) for parameter in root.parameters())
    assert model[1].training and head[1].training
    assert head[0].weight.requires_grad and not head[0].bias.requires_grad


def test_a_network_whose_train_returns_nothing_is_frozen_too() -> None:
    class Own(nn.Module):
        def train(self, mode: bool = True) -> None:  # type: ignore[override]
            super().train(mode)

    model = Own()
    with frozen(model):
        assert not model.training
    assert model.training


def test_two_threads_leave_one_network_as_it_was() -> None:
    model = small().train()
    model[1].momentum = 0.5
    before = weights_sha256(model)
    images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pair = pair_of(model, "0", "2", images)
    expected = pair.first_pass(images).output
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda _: pair.second_pass(pair.first_pass(images).local, images).output, range(60)):
            assert torch.equal(result, expected)
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert weights_sha256(model) == before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_fingerprint_sees_a_single_bit_in_every_precision(dtype: torch.dtype) -> None:
    model = small().to(dtype)
    before = weights_sha256(model)
    assert weights_sha256(model) == before
    with torch.no_grad():
        weight = model[3].weight
        weight[0, 0] = torch.nextafter(weight[0, 0].float(), torch.tensor(9.0)) if dtype == torch.float32 else 0.125
    assert weights_sha256(model) != before


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda module: torch.compile(module, backend="eager")])
def test_the_fingerprint_is_the_same_where_a_part_is_wrapped(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model = nn.Sequential(small(), nn.Identity())
    before = weights_sha256(model)
    model[0][1] = wrap(model[0][1])
    model[0] = wrap(model[0])
    assert weights_sha256(model) == before


def test_the_fingerprint_sees_a_buffer_that_is_not_saved() -> None:
    model = small()
    model.register_buffer("mean", torch.zeros(3), persistent=False)  # how many networks hold their normalisation
    before = weights_sha256(model)
    model.get_buffer("mean").add_(1)
    assert weights_sha256(model) != before


class Adapted(nn.Linear):
    """A low-rank adapter as common packages write them: in `eval()` it is added to the weights, and stays so."""

    def __init__(self) -> None:
        super().__init__(4 * 6 * 6, 5)
        self.up, self.down = nn.Parameter(torch.randn(5, 2)), nn.Parameter(torch.randn(2, 4 * 6 * 6))
        self.merged = False

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        if self.merged == mode:
            self.weight.data.add_(self.up.data @ self.down.data, alpha=-1 if mode else 1)
            self.merged = not mode
        return self

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        weight = self.weight if self.merged else self.weight + self.up @ self.down
        return nn.functional.linear(features, weight, self.bias)


def test_an_adapter_that_joins_the_weights_in_eval_is_taken_out_again() -> None:
    model = small()
    model[3] = Adapted()
    model.train()
    images, before = torch.randn(2, 3, 8, 8), model[3].weight.clone()
    expected = nn.Sequential(*model[:3]).eval()(images).matmul((before + model[3].up @ model[3].down).T) + model[3].bias
    with frozen(model):
        assert model[3].merged
        torch.testing.assert_close(model(images), expected)
    assert model.training and model[3].training and not model[3].merged
    assert torch.equal(model[3].weight, before) and model[3].weight.requires_grad
