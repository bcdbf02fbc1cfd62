"""Places that are not where they are in the image, and tokens that are not what they look like."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from milr.errors import MilrError
from milr.explanation.milr import MILR
from milr.networks.alignment import common
from milr.networks.layers import LayerPair
from milr.networks.settings import LayerSettings

WIDTH, SIDE = 16, 8  # of tokens; of their grid


def images(count: int = 2, side: int = 32) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


class Network(nn.Module):
    """Patches, something done to their map, a layer of 1 x 1, the mean."""

    def __init__(self, before: Callable[[Tensor], Tensor], behind: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before, self.behind = before, behind
        self.patches, self.local = nn.Conv2d(3, WIDTH, 4, 4), nn.Conv2d(WIDTH, WIDTH, 1)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(WIDTH, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.behind(self.patches(self.before(images)))
        return self.head(self.pool(self.local(features).relu()).flatten(1))


def as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def pair_of(network: nn.Module, example: Tensor | None = None, **choice: object) -> LayerPair:
    return LayerPair(network, images() if example is None else example, LayerSettings(**choice))  # type: ignore[arg-type]


def test_a_map_that_is_rolled_by_one_place_is_refused() -> None:
    pair_of(Network(as_it_is, as_it_is), local="local", z="pool")
    with pytest.raises(MilrError, match="8 x 8, are not where they are in the image.*shifted"):
        pair_of(Network(as_it_is, lambda features: features.roll((1, 1), (2, 3))), local="local", z="pool")


def test_a_network_that_cuts_a_corner_out_of_its_images_is_refused() -> None:
    with pytest.raises(MilrError, match=r"changed patches of an image change nothing in the local layer 'local'.*cut"):
        pair_of(Network(lambda given: given[:, :, 16:, 16:], as_it_is), images(side=64), local="local", z="pool")


def in_blocks(features: Tensor) -> Tensor:
    """Rows and columns exchanged within each block of 4 x 4 places."""
    return features.unflatten(3, (-1, 4)).unflatten(2, (-1, 4)).transpose(3, 5).flatten(4).flatten(2, 3)


def snaked(features: Tensor) -> Tensor:
    """Every other row backwards."""
    return torch.stack([features[:, :, ::2], features[:, :, 1::2].flip(3)], 3).flatten(2, 3)


def test_places_that_are_exchanged_within_blocks_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(MilrError, match="are not where they are in the image"):
        pair_of(Network(as_it_is, in_blocks), local="local", z="pool")
    with caplog.at_level(logging.WARNING, "milr"):
        pair_of(Network(as_it_is, snaked), local="local", z="pool")
    assert "maps would be scrambled" in caplog.text and "covers about" not in caplog.text  # of a size there is none


@pytest.mark.parametrize("size", [(32, 32), (24, 48)])
def test_pictures_without_a_dimension_of_channels_are_looked_at_as_others_are(size: tuple[int, int]) -> None:
    def grey(pictures: Tensor) -> Tensor:
        return pictures[:, None].expand(-1, 3, -1, -1)

    choice = {"local": "local", "z": "pool", "layout": "channels_first"}
    pictures = torch.randn(4, *size, generator=torch.Generator().manual_seed(1))
    assert pair_of(Network(grey, as_it_is), pictures, **choice).grid == (size[0] // 4, size[1] // 4)
    with pytest.raises(MilrError, match="are not where they are in the image"):
        pair_of(Network(grey, lambda features: features.flip(3)), pictures, **choice)


def one_block(features: Tensor) -> Tensor:
    """Two blocks of 4 x 4 places exchanged, all others where they are."""
    moved = features.clone()
    moved[:, :, 4:8, 4:8], moved[:, :, 8:12, 8:12] = features[:, :, 8:12, 8:12], features[:, :, 4:8, 4:8]
    return moved


def blurred(features: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(features, 3, 1, 1)


@pytest.mark.parametrize("exchange", [in_blocks, one_block])
def test_places_that_are_exchanged_and_not_far_away_are_warned_of(
    exchange: Callable[[Tensor], Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    for right in (as_it_is, blurred, lambda given: nn.functional.max_pool2d(given, 3, 1, 1)):
        pair_of(Network(as_it_is, right), images(side=64), local="local", z="pool")
    assert not caplog.records
    moved = Network(as_it_is, lambda features: blurred(exchange(blurred(features))))
    pair_of(moved, images(side=64), local="local", z="pool")
    assert "read as 16 x 16, that are where they are: places are exchanged" in caplog.text


def test_a_map_of_frequencies_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "milr"):
        pair_of(Network(as_it_is, as_it_is), local="local", z="pool")
        assert not caplog.records
        pair_of(Network(as_it_is, lambda features: torch.fft.fft2(features).abs()), local="local", z="pool")
    assert "nothing shows that they are places of the image" in caplog.text


def in_windows(features: Tensor) -> Tensor:
    """Each place gets most of what is in its window of 7 x 7, as attention in windows does."""
    return 3 * nn.functional.interpolate(nn.functional.avg_pool2d(features, 7), scale_factor=7.0) + features


def test_attention_in_windows_is_neither_a_shift_nor_a_stretch(caplog: pytest.LogCaptureFixture) -> None:
    for side in (56, 84, 112):
        pair_of(Network(as_it_is, in_windows), images(side=side), local="local", z="pool")
    assert not caplog.records
    either_side = torch.tensor([3.0, 2, 1, 1, 1, -1, -2, -3])  # of the middle of its window lies a patch
    away = torch.stack([either_side, torch.full((8,), -1.0)], 1)
    assert common(away).tolist() == [0, 1]


def test_a_map_that_covers_another_part_than_the_image_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    without_padding = Network(lambda given: nn.functional.avg_pool2d(given, 17, 1), as_it_is)  # 48 of 64 pixels
    pair_of(without_padding, images(side=64), local="local", z="pool")
    assert "read as 12 x 12, covers about 7" in caplog.text and "places off at the border" in caplog.text


def to_the_brightest(given: Tensor) -> Tensor:
    """Each image moved so that its brightest spot, if it has one, is in the middle, as a spatial transformer may."""
    spots = nn.functional.avg_pool2d(given.mean(1, keepdim=True), 8, 8).flatten(1)
    bright, number = spots.max(1)
    rows, columns = 16 - 8 * (number // 4), 16 - 8 * (number % 4)
    moves = zip(rows.tolist(), columns.tolist(), (bright > 1).tolist(), strict=True)
    return torch.stack([one.roll((r, c), (1, 2)) if b else one for one, (r, c, b) in zip(given, moves, strict=True)])


def test_a_network_that_moves_images_by_what_they_show_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    shown = 0.1 * images(4)
    for number, one in enumerate(shown):
        one[:, 24 * (number // 2) :][:, :8, 24 * (number % 2) :][:, :, :8] += 3.0
    pair_of(Network(as_it_is, as_it_is), shown, local="local", z="pool")
    pair_of(Network(to_the_brightest, as_it_is), images(4), local="local", z="pool")
    assert not caplog.records
    pair_of(Network(to_the_brightest, as_it_is), shown, local="local", z="pool")
    assert "does the network move or cut its images by what they show" in caplog.text


class Block(nn.Module):
    """Attention of all tokens to all, and two layers on each."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.all = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.own = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.all(self.norm(tokens)).chunk(3, -1)
        tokens = tokens + nn.functional.scaled_dot_product_attention(query, key, value)
        return tokens + self.own(tokens)


class Transformer(nn.Module):
    """Other tokens put among those of the patches by `arrange`; the head reads the token of a number, or their mean."""

    def __init__(self, arrange: Callable[[Tensor, Tensor], Tensor], read: int | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.arrange, self.read = arrange, read
        self.patches, self.others = nn.Conv2d(3, WIDTH, 4, 4), nn.Parameter(torch.randn(1, 4, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.arrange(self.patches(images).flatten(2).transpose(1, 2), self.others.expand(len(images), -1, -1))
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return self.head(tokens.mean(1) if self.read is None else tokens[:, self.read])


def first(tokens: Tensor, others: Tensor) -> Tensor:
    return torch.cat([others, tokens], 1)


def last(tokens: Tensor, others: Tensor) -> Tensor:
    return torch.cat([tokens, others], 1)


def around(tokens: Tensor, others: Tensor) -> Tensor:
    return torch.cat([others[:, :3], tokens, others[:, 3:]], 1)


def amid(tokens: Tensor, others: Tensor) -> Tensor:
    return torch.cat([tokens[:, :32], others[:, :1], tokens[:, 32:]], 1)


def after_each_row(tokens: Tensor, others: Tensor) -> Tensor:
    rows = tokens.unflatten(1, (SIDE, SIDE))
    return torch.cat([rows, others[:, None, :1].expand(-1, SIDE, -1, -1)], 2).flatten(1, 2)


@pytest.mark.parametrize("arrange, read", [(first, 0), (first, 3), (last, -1), (last, 65), (around, -1), (around, 1)])
def test_z_is_the_token_that_the_network_reads_wherever_it_stands(arrange: Callable[..., Tensor], read: int) -> None:
    network = Transformer(arrange, read)
    pair = pair_of(network)
    given = pair.first_pass(images())
    assert pair.z == "norm" and pair.grid == (SIDE, SIDE)
    assert torch.allclose(network.head(given.representation), given.output, atol=1e-5)


@pytest.mark.parametrize("arrange", [first, last])
def test_z_is_a_mean_where_the_network_takes_one_of_all_tokens(arrange: Callable[..., Tensor]) -> None:
    network = Transformer(arrange, None)
    pair, kept = pair_of(network), []
    network.norm.register_forward_hook(lambda module, given, tokens: kept.append(tokens))
    z = pair.first_pass(images()).representation
    start = 4 if arrange is first else 0
    assert torch.allclose(z, kept[-1][:, start : start + SIDE**2].mean(1), atol=1e-6)


@pytest.mark.parametrize("arrange", [amid, after_each_row])
def test_a_token_amid_the_grid_does_not_move_the_rest_of_it(arrange: Callable[..., Tensor]) -> None:
    with pytest.raises(MilrError, match="its tokens are no grid in the order of its rows"):
        pair_of(Transformer(arrange, 32 if arrange is amid else -1), local="blocks.0", z="norm")


def test_a_class_token_at_the_end_must_see_the_local_layer_too() -> None:
    with pytest.raises(MilrError, match="a class token no longer depends on its last block's patches"):
        pair_of(Transformer(last, -1), local="blocks.2", z="norm")


def test_a_module_that_was_fitted_with_another_token_as_z_is_not_loaded() -> None:
    network = Transformer(around, -1)
    explainer = MILR(network, example=images())
    explainer.prepare(images(8), 8)
    explainer.fitted = True
    state = explainer.state()
    assert MILR.load(network, state).layers.choice.read == "cls"
    state["layers"] = {**state["layers"], "read": "auto"}  # as it was saved before the token was looked for
    with pytest.raises(MilrError, match="took another token of 'norm' for z"):
        MILR.load(network, state)
