"""The layer pair: exact passes, no trace left on the network, clear errors."""

import warnings
from collections.abc import Callable

import pytest
import torch
from resnets import images, network, pair_of, vgg
from torch import Tensor, nn
from torchvision.models import (
    densenet121,
    resnet18,
)

from milr.errors import MilrError

SMALL = images(2)[..., :32, :32]  # convolutions in half precision are slow on a CPU


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize(
    ("local", "z"), [("layer1", "avgpool"), ("layer3.1", "avgpool"), ("layer1", "layer4"), ("maxpool", "layer2")]
)
def test_second_pass_with_untouched_features_is_the_first_pass_exactly(local: str, z: str) -> None:
    pair = pair_of(network(), local, z, images())
    first = pair.first_pass(images())
    second = pair.second_pass(first.local, images())
    assert torch.equal(first.representation, second.representation)
    assert torch.equal(first.output, second.output)


def test_first_pass_sees_what_the_network_computes() -> None:
    model = network().eval()
    pair = pair_of(model, "layer1", "avgpool", images())
    first = pair.first_pass(images())
    stem = model.maxpool(model.relu(model.bn1(model.conv1(images()))))
    assert torch.equal(first.local, model.layer1(stem))
    assert torch.equal(first.output, model(images()))
    assert pair.stages == ("layer1", "layer2", "layer3", "layer4")
    assert pair.local_shape == (64, 12, 12) and pair.dimension == 512


def test_features_before_an_in_place_layer_are_seen_as_they_were() -> None:
    model = network().eval()
    first = pair_of(model, "bn1", "avgpool", images()).first_pass(images())
    assert torch.equal(first.local, model.bn1(model.conv1(images())))


def test_changed_features_change_the_representation_and_get_gradients() -> None:
    pair = pair_of(network(), "layer1", "avgpool", images())
    local = pair.first_pass(images()).local.requires_grad_()
    pair.second_pass(0.5 * local, images()).representation.sum().backward()
    assert local.grad is not None and local.grad.abs().sum() > 0


def test_network_is_left_as_it_was_after_a_pass_and_after_an_error() -> None:
    model = network().train()
    model.layer2.eval()
    model.conv1.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pair = pair_of(model, "layer1", "avgpool", images())
    local = pair.first_pass(images()).local.requires_grad_()
    pair.second_pass(local, images()).output.sum().backward()
    with pytest.raises(RuntimeError):
        pair.second_pass(torch.randn(3, 7, 12, 12), images())
    assert hooks(model) == 0
    assert model.training and not model.layer2.training
    assert not model.conv1.weight.requires_grad and model.layer1[0].conv1.weight.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Bypass(nn.Module):
    """A network whose upper part sees more than the local layer."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.local, self.top = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        below = self.below(x)
        return self.top(self.local(below) + below).flatten(1)


class Skips(nn.Module):
    """A small U-Net whose skip is added, weakly."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.up, self.top = nn.Upsample(scale_factor=2), nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        below = self.down1(x)
        return self.top(self.up(self.down2(below).relu()) + 0.01 * below).flatten(1)


@pytest.mark.parametrize(("network", "local"), [(Bypass, "local"), (Skips, "down2")])
@pytest.mark.parametrize("example", [images(3), images(1), torch.zeros(2, 3, 48, 48), images(1).repeat(4, 1, 1, 1)])
def test_a_bypass_around_the_local_layer_is_noticed_whatever_the_example(
    network: type[nn.Module], local: str, example: Tensor
) -> None:
    pair = pair_of(network(), local, "top", example)
    first = pair.first_pass(images())
    assert torch.equal(pair.second_pass(first.local, images()).output, first.output)


class Reshapes(Bypass):
    """No bypass, but the batch's size is taken from the images."""

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.local(self.below(x)).relu()).reshape(len(x), -1)


def test_a_network_that_counts_its_images_gets_all_of_them() -> None:
    pair = pair_of(Reshapes(), "local", "top", images(1))
    first = pair.first_pass(images())
    assert torch.equal(pair.second_pass(first.local, images()).output, first.output)


@pytest.mark.parametrize(
    ("local", "z", "message"),
    [
        ("layer_1", "avgpool", "no layer 'layer_1'; nearest: .*layer1"),
        ("layer4", "layer1", "must be a later layer"),
        ("layer1.0.relu", "avgpool", "runs 2 times"),
        ("fc", "avgpool", "must be a later layer"),
        ("avgpool", "avgpool", "must be a later layer"),
    ],
)
def test_layers_that_cannot_be_used_are_named(local: str, z: str, message: str) -> None:
    with pytest.raises(MilrError, match=message):
        pair_of(network(), local, z, images())


def test_local_layer_must_give_a_map() -> None:
    class Flat(nn.Sequential):
        pass

    model = Flat(nn.Flatten(), nn.Linear(3 * 48 * 48, 4), nn.Linear(4, 2))
    with pytest.raises(MilrError, match="gives no map"):
        pair_of(model, "1", "2", images())


def test_a_random_layer_is_refused() -> None:
    class Noisy(Bypass):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.rand(1)

    with pytest.raises(MilrError, match="random"):
        pair_of(Noisy(), "local", "top", images())


def test_half_precision_is_exact_in_itself_and_near_the_full_one() -> None:
    full, half = (
        pair_of(network(), "layer1", "avgpool", SMALL),
        pair_of(network(), "layer1", "avgpool", SMALL, precision=torch.bfloat16),
    )
    first = half.first_pass(SMALL)
    assert first.local.dtype == first.representation.dtype == first.output.dtype == torch.float32
    assert torch.equal(half.second_pass(first.local, SMALL).representation, first.representation)
    exact = full.first_pass(SMALL).representation
    assert 0 < (first.representation - exact).norm() / exact.norm() < 0.02


@pytest.mark.parametrize(
    ("stage", "message"),
    [("fc", "'fc', gives no map"), ("layer1.0.relu", "runs 2 times"), ("unused", "runs 0 times")],
)
def test_a_layer_that_the_mask_cannot_read_is_refused(stage: str, message: str) -> None:
    model = network()
    model.unused = nn.Conv2d(3, 3, 1)
    with pytest.raises(MilrError, match=message):
        pair_of(model, "layer1", "avgpool", images(), stages=["layer2", stage])


class Answers(nn.Module):
    """A network whose output is among others."""

    def __init__(self, make: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.body, self.make = network(), make

    def forward(self, images: Tensor) -> object:
        return self.make(self.body(images))


@pytest.mark.parametrize(
    ("make", "choice", "times"),
    [
        (lambda output: {"loss": None, "hidden": 2 * output, "logits": output}, "", 1),
        (lambda output: (output, 2 * output), "1", 2),
        (lambda output: {"a": output.mean(), "b": output}, "", 1),
        (lambda output: {"a": output, "b": 3 * output}, "b", 3),
        (lambda output: [[output]], lambda output: output[0][0], 1),
    ],
)
def test_the_output_is_found_among_others(
    make: Callable[[Tensor], object], choice: str | Callable[[object], Tensor], times: int
) -> None:
    pair = pair_of(Answers(make), "body.layer1", "body.avgpool", images(), output=choice)
    torch.testing.assert_close(pair.first_pass(images()).output, times * network().eval()(images()))


@pytest.mark.parametrize(
    ("make", "choice", "message"),
    [
        (lambda output: {"a": None}, "", "gives a dict with a, in which no tensor has a row"),
        (lambda output: {"a": output}, "b", "gives a dict with a: output='b' is no tensor in it"),
    ],
)
def test_an_output_that_is_not_there_is_refused(make: Callable[[Tensor], object], choice: str, message: str) -> None:
    with pytest.raises(MilrError, match=message):
        pair_of(Answers(make), "body.layer1", "body.avgpool", images(), output=choice)


def test_normalisation_over_the_batch_is_refused_by_the_layers_name() -> None:
    model = network()
    model.layer3[1].bn2 = nn.BatchNorm2d(256, track_running_stats=False)
    with pytest.raises(MilrError, match=r"depends on the other images .*'layer3\.1\.bn2' \(BatchNorm2d\) mixes"):
        pair_of(model, "layer1", "avgpool", images(1))


@pytest.mark.parametrize("name", ["dropout", "noise"])
def test_what_is_random_is_named(name: str) -> None:
    class Random(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(x, 0.5) if name == "dropout" else x + torch.rand(1)

    model = network()
    model.layer2.add_module(name, Random())
    with pytest.raises(MilrError, match=rf"two results for the same images: 'layer2\.{name}' \(Random\) is random"):
        pair_of(model, "layer1", "avgpool", images())


@pytest.mark.parametrize(
    ("build", "local", "z"),
    [
        (resnet18, "layer1", "layer4.1.bn2"),  # the sum with the shortcut is made in place
        (resnet18, "layer1.0.bn1", "layer4.1.bn2"),
        (densenet121, "features.denseblock2", "features"),  # relu in place
        (densenet121, "features.denseblock2", "features.norm5"),
        (vgg, "features.10", "classifier.3"),
    ],
)
def test_a_layer_that_is_changed_in_place_afterwards_may_be_the_global_one(
    build: Callable[..., nn.Module], local: str, z: str
) -> None:
    model = build().eval()
    pair = pair_of(model, local, z, images(1))
    first = pair.first_pass(images(2))
    assert torch.equal(pair.second_pass(first.local, images(2)).representation, first.representation)
    assert torch.equal(first.output, model(images(2)))


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-6), (torch.bfloat16, 0.0)])
def test_networks_of_other_precisions(dtype: torch.dtype, error: float) -> None:
    model = network().eval().to(dtype)
    pair = pair_of(model, "layer1", "avgpool", SMALL[:1])
    first = pair.first_pass(SMALL)
    expected = model(SMALL.to(dtype)).float()
    assert torch.equal(first.output, expected)
    second = pair.second_pass(first.local, SMALL).output
    assert (second - expected).norm() <= error * expected.norm()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_called_that(value: float) -> None:
    model = network()
    with torch.no_grad():
        model.layer2[0].conv1.weight[0, 0, 0, 0] = value
    with pytest.raises(MilrError, match="hold nan or inf, 'layer2.0.conv1.weight' among them"):
        pair_of(model, "layer1", "avgpool", images())


def test_a_network_that_takes_positive_values_only_is_tried_on_such() -> None:
    class Log(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.log()

    model = nn.Sequential(Log(), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    pair = pair_of(model, "1", "3", images().abs() + 0.1)
    assert pair.local_shape == (4, 46, 46)
    with pytest.raises(MilrError, match="'1' gives nan for noise"):
        pair_of(model, "1", "3", images())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.LazyConv2d(4, 3), nn.AdaptiveAvgPool2d(1)), "lazy layers that know no shapes yet"),
        (lambda images: images, "is a function, not a torch.nn.Module"),
    ],
)
def test_what_is_no_network_yet_is_refused(model: nn.Module, message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(MilrError, match=message):
            pair_of(model, "0", "1", images())


def test_what_a_network_raises_is_told() -> None:
    with pytest.raises(MilrError, match=r"fails on images \[2, 4, 48, 48\].*RuntimeError: .*channels"):
        pair_of(network(), "layer1", "avgpool", torch.zeros(1, 4, 48, 48))


def test_memory_that_runs_out_is_no_bypass() -> None:
    class Hungry(Bypass):
        passes = 0

        def forward(self, x: Tensor) -> Tensor:
            type(self).passes += 1
            if len(x) == 1 and self.passes > 3:  # the pass with one image below
                raise torch.OutOfMemoryError("not enough memory")
            return self.top(self.local(self.below(x))).flatten(1)

    with pytest.raises(torch.OutOfMemoryError):
        pair_of(Hungry(), "local", "top", images())


class Recurrent(nn.Module):
    """Rows of patches through layers that give tuples."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.top = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 4)
        self.lstm, self.attention = nn.LSTM(8, 8, batch_first=True), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.lstm(self.patches(x).flatten(2).transpose(1, 2))[0]
        return self.top(self.attention(tokens, tokens, tokens)[0].mean(1))


@pytest.mark.parametrize(("local", "z"), [("lstm", "top"), ("patches", "attention")])
def test_the_features_are_taken_from_tuples_and_put_back_into_them(local: str, z: str) -> None:
    pair = pair_of(Recurrent().eval(), local, z, images())
    first = pair.first_pass(images())
    assert pair.local_shape == (8, 6, 6)
    torch.testing.assert_close(pair.second_pass(first.local, images()).output, first.output)
    assert not torch.equal(pair.second_pass(0 * first.local, images()).representation, first.representation)


def test_graphs_and_scripts_are_refused_with_what_is_true_of_them() -> None:
    model = network().eval()
    with pytest.raises(MilrError, match="runs 0 times .* such as 'layer1.1.bn2'"):
        pair_of(torch.fx.symbolic_trace(model), "layer1", "avgpool", images())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        traced = torch.jit.trace(model, images())
    with pytest.raises(MilrError, match="is TorchScript"):
        pair_of(traced, "layer1", "avgpool", images())
    exported = torch.export.export(model, (images(),))
    with pytest.raises(MilrError, match="is a ExportedProgram, not a torch.nn.Module"):
        pair_of(exported, "layer1", "avgpool", images())  # type: ignore[arg-type]
    with pytest.raises(MilrError, match="is a graph of torch.export"):
        pair_of(exported.module(), "layer1", "avgpool", images())


def test_a_global_layer_that_does_not_see_the_local_one_is_refused() -> None:
    class Apart(Bypass):
        def forward(self, x: Tensor) -> Tensor:
            self.local(self.below(x))
            return self.top(x).flatten(1)

    with pytest.raises(MilrError, match="'top' gives the same whatever"):
        pair_of(Apart(), "local", "top", images())


def test_one_image_is_no_batch() -> None:
    with pytest.raises(MilrError, match=r"one image \[3, 48, 48\], not a batch: pass example\[None\]"):
        pair_of(network(), "layer1", "avgpool", images()[0])


class Gate(nn.Module):
    """A way around conv1 that is open for bright images alone, or where the image is not exactly 0."""

    def __init__(self, padding: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.side, self.avgpool, self.padding = nn.Linear(3, 8, bias=False), nn.AdaptiveAvgPool2d(1), padding

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv2(self.conv1(images).relu())
        if self.padding:
            return self.avgpool(features * (images != 0).any(1, keepdim=True)).flatten(1)
        return self.avgpool(features).flatten(1) + self.side((images.mean((2, 3)) - 1).relu())


@pytest.mark.parametrize("padding", [False, True])
def test_a_way_around_the_local_layer_that_is_shut_for_the_example_is_found(padding: bool) -> None:
    layers = pair_of(Gate(padding).eval(), "conv1", "avgpool", 0.1 + 0.5 * torch.rand(2, 3, 16, 16))

    images = 1 + torch.rand(3, 3, 16, 16)
    images[1, :, :8] = 0
    images[2] *= 2

    first = layers.first_pass(images)
    torch.testing.assert_close(layers.second_pass(first.local, images).output, first.output)


def test_a_network_that_squeezes_one_image_away_gives_it_as_beside_others() -> None:
    torch.manual_seed(0)
    layers = pair_of(network_that_squeezes().eval(), "0", "3", images())
    whole = layers.first_pass(images())
    alone = layers.first_pass(images()[:1])
    torch.testing.assert_close(alone.output, whole.output[:1])
    torch.testing.assert_close(layers.second_pass(alone.local, images()[:1]).output, whole.output[:1])


def network_that_squeezes() -> nn.Module:
    class Squeeze(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return features.squeeze()

    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), Squeeze(), nn.Linear(4, 2))


@pytest.mark.parametrize("what", ["is random", "mixes them"])
def test_code_between_the_layers_is_not_laid_to_a_layers_charge(what: str) -> None:
    class Between(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            if what == "is random":
                return features + torch.rand_like(features)
            return features - features.mean(0)

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, features: Tensor) -> Tensor:
            return self.fc(Between().forward(features))

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Head())
    with pytest.raises(MilrError, match=f"code before '3.fc' \\(Linear\\) {what}"):
        pair_of(model.eval(), "0", "3", images())


def test_a_module_in_place_of_its_name_is_answered_with_the_name() -> None:
    model = network()
    with pytest.raises(MilrError, match=r"by their names in the network, not as a Sequential: 'layer1'"):
        pair_of(model, model.layer1, "avgpool", images())  # type: ignore[arg-type]


def test_a_layer_that_was_replaced_afterwards_is_missed_by_name() -> None:
    model = network()
    layers = pair_of(model, "layer1", "avgpool", images())
    model.layer1 = nn.Identity()
    with pytest.raises(MilrError, match="layer 'layer1' did not run: was a layer of the network replaced"):
        layers.first_pass(images())


def test_a_network_that_overflows_is_not_said_to_ignore_its_local_layer() -> None:
    model = network()
    with torch.no_grad():
        model.layer4[1].bn2.weight.fill_(3e38)
    with pytest.raises(MilrError, match="'avgpool' gives inf for noise in the range of the example"):
        pair_of(model, "layer1", "avgpool", images())
