"""Tokens, sequences and what else holds places: found, masked and put back as the network has them; z read of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from families import Recurrent, Siamese, Text, sentences, words
from torch import Tensor, nn
from toy import Network

import milr
from milr.errors import MilrError
from milr.networks.layers import LayerPair
from milr.networks.probes import probe_inputs
from milr.networks.settings import LayerSettings, layer_settings


class Tokens(nn.Module):
    """A grid of 4 x 6 tokens between a class token and two registers; `order` may put the grid's otherwise."""

    def __init__(self, order: Callable[[Tensor], Tensor] = lambda grid: grid) -> None:
        super().__init__()
        self.patches, self.order = nn.Conv2d(3, 8, 4, 4), order
        self.first, self.last = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 2, 8))
        self.body = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(3))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        grid = self.order(self.patches(images).flatten(2).transpose(1, 2))
        tokens = torch.cat([self.first.expand(len(images), -1, -1), grid, self.last.expand(len(images), -1, -1)], 1)
        for block in self.body:
            tokens = block(tokens)
        return self.head(self.norm(tokens)[:, 0])


def images(count: int = 3) -> Tensor:
    return torch.randn(count, 3, 16, 24)


def test_the_class_token_and_registers_are_no_places_and_stay_as_the_image_gives_them() -> None:
    network = Tokens().eval()
    pair = LayerPair(network, images(1), LayerSettings("body.1", "norm"))
    assert str(pair.layouts["body.1"]) == "tokens 1 + 4 x 6" and pair.stages == ("body.0", "body.1", "body.2")
    given, occluded = images(), torch.randn(3, 8, 4, 6)
    seen: list[Tensor] = []
    with torch.no_grad(), network.body[1].register_forward_hook(lambda module, inputs, output: seen.append(output)):
        network(given)
        torch.testing.assert_close(pair.first_pass(given).local, seen[0][:, 1:25].transpose(1, 2).unflatten(2, (4, 6)))
        tokens = seen[0].clone()
        tokens[:, 1:25] = occluded.flatten(2).transpose(1, 2)
        expected = network.norm(network.body[2](tokens))[:, 0]
    second = pair.second_pass(occluded, given)
    torch.testing.assert_close(second.representation, expected)
    torch.testing.assert_close(second.output, network.head(expected))


def windows(grid: Tensor) -> Tensor:
    """Tokens of 4 x 6 places in the order of windows of 2 x 2."""
    return grid.unflatten(1, (2, 2, 3, 2)).transpose(2, 3).flatten(1, 4)


def test_tokens_in_another_order_are_not_taken_for_a_grid() -> None:
    with pytest.raises(MilrError, match="no grid in the order of its rows.*windows.*name another layer"):
        LayerPair(Tokens(windows).eval(), images(1), LayerSettings("body.1", "norm"))


@pytest.mark.parametrize(
    ("given", "layout"),
    [
        ({"layout": "tokens", "grid": [4, 6], "prefix": 1}, "tokens 1 + 4 x 6"),
        ({"grid": [13, 2]}, "tokens 1 + 13 x 2"),
        ({"layout": "sequence", "prefix": 1}, "sequence 1 + 26"),
    ],
)
def test_what_is_said_of_a_layout_counts(given: dict[str, object], layout: str) -> None:
    choice = replace(LayerSettings("body.1", "norm", read="flatten"), **given)  # type: ignore[arg-type]
    pair = LayerPair(Tokens().eval(), images(1), choice)
    assert str(pair.layouts["body.1"]) == layout


@pytest.mark.parametrize(
    ("order", "given"), [(None, {"grid": [4, 6], "prefix": 3}), (windows, {"grid": [4, 6], "prefix": 1})]
)
def test_a_grid_by_hand_whose_places_are_elsewhere_in_the_image_is_refused(order: Any, given: dict[str, Any]) -> None:
    choice = replace(LayerSettings("body.1", "norm", read="flatten", layout="tokens"), **given)
    with pytest.raises(MilrError, match="read as 4 x 6, are not where they are in the image"):
        LayerPair((Tokens(order) if order else Tokens()).eval(), images(1), choice)


def test_a_network_that_flips_its_images_is_refused() -> None:
    class Flipped(nn.Sequential):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x.flip(3))

    network = Flipped(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(MilrError, match="local layer '0', read as 16 x 16, are not where they are.*flipped"):
        LayerPair(network, torch.randn(2, 3, 32, 32), LayerSettings("0", "2"))


def test_a_layout_that_there_is_not_is_refused() -> None:
    with pytest.raises(MilrError, match="layout=chanels: choose one of .*did you mean"):
        layer_settings(None, layout="chanels")


def test_a_grid_that_does_not_fit_is_refused() -> None:
    with pytest.raises(MilrError, match=r"grid=\[5, 6\] with prefix=-1 does not fit the local layer, 'body.1'"):
        LayerPair(Tokens().eval(), images(1), LayerSettings("body.1", "norm", grid=[5, 6]))


def test_a_class_token_that_no_longer_depends_on_the_patches_is_said_to() -> None:
    for local, z in (("body.2", "norm"), ("norm", "head")):
        with pytest.raises(MilrError, match=r"a class token no longer depends.*for example local=body\.1"):
            LayerPair(Tokens().eval(), images(1), LayerSettings(local, z))
    pair = LayerPair(Tokens().eval(), images(1), LayerSettings("body.2", "norm", read="pool"))
    assert pair.dimension == 8


@pytest.mark.parametrize(
    ("read", "z", "expected"),
    [
        ("auto", "norm", lambda tokens: tokens[:, 0]),
        ("cls", "norm", lambda tokens: tokens[:, 0]),
        ("pool", "norm", lambda tokens: tokens[:, 1:25].mean(1)),
        ("flatten", "norm", lambda tokens: tokens.flatten(1)),
        (lambda tokens: tokens[:, -1], "norm", lambda tokens: tokens[:, -1]),
    ],
)
def test_z_is_read_as_it_is_said(
    read: str | Callable[[Tensor], Tensor], z: str, expected: Callable[[Tensor], Tensor]
) -> None:
    network, given = Tokens().eval(), images()
    choice = LayerSettings("body.0", z, read=read if isinstance(read, str) else "auto")
    pair = LayerPair(network, given, choice, read=None if isinstance(read, str) else read)
    seen: list[Tensor] = []
    with torch.no_grad(), network.norm.register_forward_hook(lambda module, inputs, output: seen.append(output)):
        network(given)
    torch.testing.assert_close(pair.first_pass(given).representation, expected(seen[0]))


@pytest.mark.parametrize(
    ("read", "message"), [("cls", "'head' gives .* without a class token"), (lambda z: z[0], "must give z")]
)
def test_a_reading_that_cannot_be_is_refused(read: str | Callable[[Tensor], Tensor], message: str) -> None:
    choice = LayerSettings("body.0", "head", read=read if isinstance(read, str) else "auto")
    with pytest.raises(MilrError, match=message):
        LayerPair(Tokens().eval(), images(2), choice, read=None if isinstance(read, str) else read)


def test_words_and_times_are_rows() -> None:
    pair = LayerPair(Recurrent().eval(), words()[:2])
    assert pair.sequence and pair.local == "embed" and pair.local_shape == (8, 1, 10)
    signal = nn.Sequential(
        nn.Conv1d(6, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 2)
    )
    times = torch.randn(4, 6, 20)
    pair = LayerPair(signal.eval(), times, LayerSettings("1", "3"))
    assert pair.sequence and pair.local_shape == (8, 1, 20)
    first = pair.first_pass(times)
    assert torch.equal(pair.second_pass(first.local, times).output, first.output)


def test_a_network_of_words_is_tried_on_words_and_masks_of_the_example() -> None:
    given = sentences()
    given["input_ids"][:, 0], given["input_ids"][:, 7], given["input_ids"][:, 8:] = 1, 2, 0
    one, other = (probes for probes in probe_inputs(given) if isinstance(probes, dict))
    for probes in (one, other):
        assert probes["input_ids"].shape == (2, 10) and probes["input_ids"].dtype == torch.long
        assert torch.equal(probes["attention_mask"], given["attention_mask"][:2])
        assert torch.isin(probes["input_ids"], given["input_ids"][0]).all()
        for places in ([0], [7], [8, 9]):  # the first and the last word, and what is not seen
            assert torch.equal(probes["input_ids"][:, places], given["input_ids"][:2, places])
    assert torch.equal(one["input_ids"][0], other["input_ids"][0])
    assert not torch.equal(one["input_ids"][1], other["input_ids"][1])


def test_words_that_are_masked_do_not_count() -> None:
    pair = LayerPair(Text().eval(), sentences())
    given = sentences()
    first = pair.first_pass(given)
    changed = first.local.clone()
    changed[..., 8:] = 0
    torch.testing.assert_close(pair.second_pass(changed, given).output, first.output)
    changed[..., 7:] = 0
    assert not torch.allclose(pair.second_pass(changed, given).output, first.output)


@pytest.mark.slow
def test_which_run_of_a_shared_layer_is_meant_is_asked_and_kept() -> None:
    network, one, other = Siamese().eval(), torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32)
    with pytest.raises(MilrError, match="'body.layer1' runs 2 times in one pass.*call=0 to 1"):
        LayerPair(network, (one, other), LayerSettings("body.layer1", "body"))
    for call, picture in enumerate((one, other)):
        pair = LayerPair(network, (one, other), LayerSettings("body.layer1", "body", call=call))
        first = pair.first_pass((one, other))
        torch.testing.assert_close(first.representation, network.body(picture))
        torch.testing.assert_close(pair.second_pass(first.local, (one, other)).output, network(one, other))
        zero = pair.second_pass(0 * first.local, (one, other))
        assert not torch.allclose(zero.representation, first.representation)


class Wrapped(nn.Module):
    """A network of one's own around another, which gives more than that."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": self.body(images)}


@pytest.mark.slow
@pytest.mark.parametrize("build", [Network, Tokens])
def test_maps_of_a_network_and_of_the_same_wrapped_are_equal(build: Callable[[], nn.Module]) -> None:
    network, given = build().eval(), images(6)
    batch = milr.Batch(given, lambda output: (output, torch.arange(6) % 4))
    settings = milr.FitSettings(steps=2, critic=milr.CriticSettings(steps=2))
    maps = []
    for wrap in (
        lambda body: body,
        Wrapped,
        nn.DataParallel,
        lambda body: Wrapped(nn.DataParallel(body)),
        lambda body: torch.compile(body, backend="eager"),
    ):
        explainer = milr.MILR(wrap(network), example=given[:2])
        explainer.prepare(given.split(3), 6)
        milr.fit(explainer, lambda step: batch, settings)
        maps.append(explainer.maps(given))
    for other in maps[1:]:
        assert torch.equal(other.decision, maps[0].decision) and torch.equal(other.total, maps[0].total)


def test_the_table_of_the_layers_marks_what_is_taken() -> None:
    table = milr.layers(Tokens(), images(1))
    rows = {row.name: row for row in table}
    assert rows["body.0"].default == ("local", "stage") and rows["norm"].default == ("z",)
    assert rows["body.1"].layout == "tokens 1 + 4 x 6" and rows["body.1"].shape == (27, 8)
    assert rows["head"].can == ("z",) and rows["body.1"].can == ("local", "z", "stage")
    assert "body.0 " in str(table) and len(str(table).splitlines()) == len(table) + 1
    assert {row.runs for row in milr.layers(Siamese(), (torch.randn(1, 3, 32, 32),) * 2) if "body" in row.name} == {2}
