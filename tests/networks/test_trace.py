"""What is read of a network by running it: how maps lie, which layers the mask reads, whatever wraps it."""

from collections.abc import Callable

import pytest
import torch
from families import UNet
from resnets import images, network, pair_of, vgg
from torch import Tensor, nn
from torchvision.models import (
    convnext_tiny,
    densenet121,
    efficientnet_b0,
    maxvit,
    regnet_y_400mf,
    swin_t,
)

from milr.errors import MilrError


class LastChannels(nn.Module):
    """A block that gives [K, H, W, C], as Swin does; 12 places and 12 channels."""

    def __init__(self, size: int | None = None) -> None:
        super().__init__()
        self.size = size
        self.patches, self.local, self.top = nn.Conv2d(3, 12, 4, 4), nn.Linear(12, 12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        assert self.size in (None, x.shape[2]), "one size only"
        return self.top(self.local(self.patches(x).permute(0, 2, 3, 1)).relu().mean((1, 2)))


def test_places_are_told_from_channels_by_a_taller_image() -> None:
    model = LastChannels().eval()
    pair = pair_of(model, "local", "top", images(1))
    first = pair.first_pass(images())
    assert pair.local_shape == (12, 12, 12) and pair.layouts["local"].kind == "channels_last"
    expected = model.local(model.patches(images()).permute(0, 2, 3, 1))
    assert torch.equal(first.local, expected.permute(0, 3, 1, 2))
    assert torch.equal(pair.second_pass(first.local, images()).output, first.output)


def test_places_of_a_network_of_one_size_are_told_from_channels_by_changed_patches() -> None:
    model = LastChannels(size=48)
    pair = pair_of(model, "local", "top", images())
    assert pair.layouts["local"].kind == "channels_last"
    first = pair.first_pass(images())
    assert torch.equal(pair.second_pass(first.local, images()).output, first.output)


class Shuffled(LastChannels):
    """Its places are in no order."""

    def forward(self, x: Tensor) -> Tensor:
        order = torch.randperm(144, generator=torch.Generator().manual_seed(0))
        assert x.shape[2] == 48, "one size only"
        places = self.patches(x).flatten(2)[:, :, order].transpose(1, 2).unflatten(1, (12, 12))
        return self.top(self.local(places).relu().mean((1, 2)))


def test_where_nothing_tells_places_from_channels_the_user_is_asked() -> None:
    with pytest.raises(MilrError, match="cannot be inferred; say layout='channels_first' or 'channels_last'"):
        pair_of(Shuffled(), "local", "top", images())


class Wide(nn.Module):
    """Images of six channels, which lie last, or are all as large as the smaller side; or are brought to one size."""

    def __init__(self, arrange: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.arrange, self.local, self.top = arrange, nn.LazyConv2d(8, 4, 4), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.local(self.arrange(x)).relu().mean((2, 3)))


@pytest.mark.parametrize(
    ("shape", "arrange", "grid"),
    [
        ((24, 40, 6), lambda x: x.permute(0, 3, 1, 2), (6, 10)),
        ((6, 48, 4), lambda x: x, (12, 1)),
        ((3, 24, 40), lambda x: nn.functional.interpolate(x, (32, 32)), (8, 8)),
        ((3, 32, 32), lambda x: nn.functional.interpolate(x, (48, 24)), (12, 6)),
    ],
)
def test_sides_are_told_from_channels_and_one_size_from_another(
    shape: tuple[int, ...], arrange: Callable[[Tensor], Tensor], grid: tuple[int, int]
) -> None:
    example, model = torch.rand(4, *shape), Wide(arrange)
    model(example)
    pair = pair_of(model, "local", "top", example)
    assert pair.layouts["local"].kind == "channels_first" and pair.grid == grid
    assert pair.image_size == (shape[:2] if shape[2] == 6 else shape[1:])


@pytest.mark.slow
def test_swin_is_read_with_its_channels_last() -> None:
    torch.manual_seed(0)
    pair = pair_of(swin_t(), "features.3", "avgpool", torch.zeros(1, 3, 64, 64))
    assert pair.local_shape == (192, 8, 8)
    assert pair.stages == ("features.1", "features.3", "features.5", "features.7")


def test_attention_of_places_to_places_is_no_map() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.weights = nn.Conv2d(3, 8, 16, 16), nn.Softmax(-1)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.patches(x).flatten(2)
            weights = self.weights(tokens.transpose(1, 2) @ tokens)[:, None]
            return (weights @ tokens.transpose(1, 2)[:, None]).mean((1, 2))

    model = nn.Sequential(Attends(), nn.Linear(8, 2))
    with pytest.raises(MilrError, match="cannot be inferred|no map|are no grid"):
        pair_of(model, "0.weights", "1", images())


RESNET = ("layer1", "layer2", "layer3", "layer4")


class Wrapped(nn.Module):
    """A network of one's own around another."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrap", "prefix", "inner"),
    [
        (Wrapped, "body.", "body."),
        (lambda body: Wrapped(Wrapped(body)), "body.body.", "body.body."),
        (nn.DataParallel, "module.", ""),
        (lambda body: nn.DataParallel(Wrapped(body)), "module.body.", "body."),
        (lambda body: torch.compile(body, backend="eager"), "", ""),
        (lambda body: torch.compile(body, backend="eager"), "_orig_mod.", ""),
    ],
)
def test_a_wrapped_network_has_the_same_stages_and_features(
    wrap: Callable[[nn.Module], nn.Module], prefix: str, inner: str
) -> None:
    bare = pair_of(network(), "layer1", "avgpool", images())
    wrapped = wrap(network())
    if "orig" in prefix:
        with torch.no_grad():
            wrapped.eval()(images())  # compiled before the hooks are set
    pair = pair_of(wrapped, f"{prefix}layer1", f"{prefix}avgpool", images())
    assert bare.stages == RESNET and pair.stages == tuple(f"{inner}{name}" for name in RESNET)
    first, expected = pair.first_pass(images()), bare.first_pass(images())
    assert torch.equal(first.local, expected.local) and torch.equal(first.output, expected.output)
    assert all(torch.equal(one, other) for one, other in zip(first.stages, expected.stages, strict=True))


@pytest.mark.slow
def test_layers_that_are_compiled_one_by_one_or_in_place_are_read_as_they_were_written() -> None:
    expected = pair_of(network(), "layer2", "avgpool", images()).first_pass(images())
    parts, whole = network().eval(), network().eval()
    parts.layer2 = torch.compile(parts.layer2, backend="eager")
    whole.compile(backend="eager")
    for model in (parts, whole):
        with torch.no_grad():
            model(images())
        pair = pair_of(model, "layer2", "avgpool", images())
        assert pair.stages == RESNET and torch.equal(pair.first_pass(images()).local, expected.local)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "local", "stages"),
    [
        (
            vgg,
            "features.10",
            ("features.1", "features.4", "features.9", "features.14", "features.19"),
        ),
        (densenet121, "features.denseblock2", tuple(f"features.denseblock{n}" for n in (1, 2, 3, 4))),
        (convnext_tiny, "features.3", tuple(f"features.{n}" for n in (1, 3, 5, 7))),
        (efficientnet_b0, "features.3", tuple(f"features.{n}" for n in (1, 2, 3, 5, 8))),
        (regnet_y_400mf, "trunk_output.block2", ("stem", *(f"trunk_output.block{n}" for n in (1, 2, 3, 4)))),
    ],
)
def test_stages_are_looked_for_inside_containers(
    build: Callable[..., nn.Module], local: str, stages: tuple[str, ...]
) -> None:
    model = build()
    head = next(name for name, _ in list(model.named_children())[::-1] if name in ("features", "avgpool"))
    assert pair_of(model, local, head, torch.zeros(1, 3, 64, 64)).stages == stages


def test_blocks_in_a_module_list_are_stages() -> None:
    model = maxvit.MaxVit((64, 64), 8, 4, [8, 16], [1, 1], 4, 0.0, num_classes=3)
    pair = pair_of(model, "blocks.0", "classifier.2", torch.zeros(1, 3, 64, 64))
    assert pair.stages == ("stem", "blocks.0", "blocks.1")


class Reduced(nn.Module):
    """A block that looks at a part of its places, as attention to fewer keys does."""

    def __init__(self) -> None:
        super().__init__()
        self.keys, self.mix = nn.Conv2d(8, 8, 4, 4), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(x) * self.keys(x).mean((2, 3), keepdim=True)


def test_a_repeated_block_is_one_whatever_resolution_is_within_it_but_a_u_net_is_many() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 4, 4), Reduced(), Reduced(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert pair_of(model, "1", "3", images(1)).stages == ("2",)
    assert pair_of(UNet(), "down2", "down3", images(1)).stages == ("down1", "down2", "down3", "up2", "up1")


def test_a_side_that_is_pooled_more_than_the_other_is_one_still() -> None:
    strips = nn.Sequential(nn.Conv2d(3, 8, (3, 9), (1, 4), (1, 4)), nn.ReLU(), nn.Conv2d(8, 8, 3, (1, 2), 1))
    pair = pair_of(nn.Sequential(strips, nn.AdaptiveAvgPool2d(1), nn.Flatten()), "0.0", "1", torch.rand(2, 3, 32, 32))
    assert pair.grid == (32, 8)
