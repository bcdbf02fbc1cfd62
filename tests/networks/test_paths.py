"""A guess of layers stands on the way to the output that counts, of networks with several heads or branches."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from transformers import CLIPConfig, CLIPForImageClassification

import milr
from milr.errors import MilrError
from milr.networks import paths
from milr.networks.outputs import choose
from milr.networks.probes import probe_inputs


class Heads(nn.Module):
    """Two answers [K, 10] and [K, 2] about one embedding [K, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.embed, self.age, self.kind = nn.Linear(8, 8), nn.Linear(8, 10), nn.Linear(8, 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        embedding = self.embed(self.body(images).mean((2, 3))).relu()
        return {"age": self.age(embedding), "kind": self.kind(embedding)}


@pytest.mark.parametrize("output", ["age", "kind", lambda given: given["age"].softmax(1)])
def test_of_two_heads_neither_ones_answer_is_z(output: Any) -> None:
    layers = milr.MILR(Heads(), example=torch.randn(2, 3, 16, 16), output=output).layers
    assert (layers.local, layers.z, layers.dimension) == ("body", "embed", 8)


def test_a_pooled_vector_that_nothing_reads_is_not_z() -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    vision = {**sizes, "image_size": 16, "patch_size": 4}
    network = CLIPForImageClassification(CLIPConfig(text_config=sizes, vision_config=vision, num_labels=4))
    images = torch.randn(2, 3, 16, 16)
    first = milr.MILR(network, example=images).layers.first_pass(images)  # its head reads the mean of the patches
    torch.testing.assert_close(network.classifier(first.representation), first.output)


def test_a_mask_of_what_was_seen_is_no_answer() -> None:
    """As ViTMAE gives one beside its tokens."""
    seen = {"ids": torch.arange(4)[None].repeat(2, 1), "mask": torch.zeros(2, 4), "tokens": torch.zeros(2, 5, 8)}
    assert choose(seen, 2) == "tokens"
    assert choose({"mask": torch.zeros(2, 4)}, 2) == "mask"


def test_a_mask_of_another_input_does_not_choose_among_its_numbers() -> None:
    """As Siglip2 has one of its patches, beside the shapes of the pictures."""
    example = {
        "pixels": torch.randn(4, 9, 5),
        "pixel_attention_mask": torch.ones(4, 9).long(),
        "spatial_shapes": torch.tensor([[3, 2]] * 4),
        "numbers": torch.tensor([[3, 2]] * 4),
    }
    drawn, _ = probe_inputs(example)
    assert isinstance(drawn, dict) and drawn["numbers"].shape == (2, 2)
    assert drawn["spatial_shapes"].tolist() == [[3, 2]] * 2  # no words, which may stand in any order


def test_places_are_found_whatever_the_scale_of_the_features() -> None:
    network = Heads()
    with torch.no_grad():
        network.body[0].weight.mul_(1e-25)
        network.body[0].bias.zero_()
    network.body[1] = nn.Identity()
    network.embed.weight.data.mul_(1e20)
    assert milr.MILR(network, "body", "embed", example=torch.randn(2, 3, 16, 16)).layers.grid == (8, 8)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, board: Tensor) -> Tensor:
        return board + self.other(self.one(board).relu())


class Tower(nn.Module):
    """Moves [K, 81] and a value [K, 1] of boards [K, 4, 9, 9], of which no layer changes the resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.tower = nn.Conv2d(4, 8, 3, padding=1), nn.Sequential(*[Block() for _ in range(6)])
        self.moves, self.flat = nn.Conv2d(8, 1, 1), nn.Conv2d(8, 1, 1)
        self.hidden, self.value = nn.Linear(81, 16), nn.Linear(16, 1)

    def forward(self, board: Tensor) -> tuple[Tensor, Tensor]:
        board = self.tower(self.stem(board))
        return self.moves(board).flatten(1), self.value(self.hidden(self.flat(board).flatten(1)).relu())


@pytest.mark.parametrize(("output", "z"), [("0", "tower.5"), ("1", "hidden")])
def test_of_a_tower_of_one_resolution_an_early_block_is_explained_and_z_is_the_own_heads(output: str, z: str) -> None:
    layers = milr.MILR(Tower(), example=torch.randn(2, 4, 9, 9), output=output).layers
    assert (layers.local.split(".")[0], layers.z, layers.grid) == ("tower", z, (9, 9))
    assert layers.local in ("tower.0", "tower.1") and len(layers.stages) == 4


class Branches(nn.Module):
    """Two branches in a list, of which the second alone is read where the first was mixed into it: [K, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed, self.last = Mixed(), Mixed()
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        both = self.last(self.mixed([images, images]))
        return self.head(self.pool(both[1]).flatten(1))


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.LazyConv2d(8, 3, 2, 1), nn.LazyConv2d(8, 3, 2, 1)

    def forward(self, both: list[Tensor]) -> list[Tensor]:
        one = self.one(both[0]).relu()
        return [one, self.other(both[1]).relu() + one.mean((2, 3), keepdim=True)]


def test_of_branches_the_local_layer_is_one_that_z_depends_on() -> None:
    network, images = Branches(), torch.randn(2, 3, 64, 64)
    network(images)
    layers = milr.MILR(network, example=images).layers
    assert layers.z == "pool"
    first = layers.first_pass(images)
    changed = layers.second_pass(first.local.flip(0), images)
    assert not torch.equal(changed.representation, first.representation)


class Members(nn.Module):
    """The mean of what three networks [K, 4] say of a picture."""

    def __init__(self, stem: nn.Module | None = None) -> None:
        super().__init__()
        members = [nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), Pooled(8)) for _ in range(3)]
        self.stem, self.members = stem or nn.Identity(), nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        images = self.stem(images)
        return torch.stack([member(images) for member in self.members]).mean(0)


class Pooled(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(channels, 4)

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.pool(features).flatten(1))


def test_what_goes_past_the_local_layer_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    images = torch.randn(2, 3, 32, 32)
    milr.MILR(Members(), example=images)
    assert "of what the picture changes in the network's output goes past the local layer 'members." in caplog.text
    caplog.clear()
    milr.MILR(Members().members[0], example=images)
    milr.MILR(Heads(), example=images, output="age")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_goes_past_guessed_layers_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    seen = paths.passes_by
    monkeypatch.setattr(paths, "passes_by", lambda *given: looks.append("") or seen(*given))
    milr.MILR(Members().members[0], example=torch.randn(2, 3, 32, 32))
    assert len(looks) == 2  # the local layer and z


def test_a_layer_that_all_of_the_picture_goes_through_is_explained_first(caplog: pytest.LogCaptureFixture) -> None:
    network = Members(nn.Conv2d(3, 3, 3, 2, 1))
    assert milr.MILR(network, example=torch.randn(2, 3, 32, 32)).layers.local == "stem"
    assert "goes past the local layer" not in caplog.text


class Changing(nn.Module):
    """A bank of what was seen last, against which [K, 4] is decided."""

    bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.register_buffer("bank", torch.randn(4, 4))

    def forward(self, images: Tensor) -> Tensor:
        embedding = self.body(images)
        logits = embedding @ self.bank.T
        self.bank = torch.cat([self.bank[1:], embedding[:1].detach()])
        return logits


def test_a_network_that_is_refused_for_changing_its_buffers_has_them_as_they_were() -> None:
    network = Changing()
    before = network.bank.clone()
    milr.layers(network, torch.randn(2, 3, 16, 16))
    assert torch.equal(network.bank, before)
    with pytest.raises(MilrError, match="changes its buffer 'bank' while it runs in eval"):
        milr.MILR(network, "body.1", "body.2", example=torch.randn(2, 3, 16, 16))
    assert torch.equal(network.bank, before)


class Graph(Heads):
    """Channels that are mixed along the edges of a graph, as a sparse buffer has them."""

    edges: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("edges", torch.eye(8).roll(1, 0).to_sparse())

    def forward(self, images: Tensor) -> Tensor:
        return self.embed(torch.sparse.mm(self.edges, self.body(images).mean((2, 3)).T).T)


def test_a_sparse_buffer_is_one_like_others() -> None:
    network, images = Graph(), torch.randn(2, 3, 16, 16)
    assert milr.layers(network, images)
    explainer = milr.MILR(network, "body", "embed", example=images)
    explainer.prepare([images])
    explainer.fitted = True
    assert explainer(images).total.shape == (2, 8, 8)
    network.edges = 2 * network.edges
    with pytest.raises(MilrError, match="weights or buffers changed"):
        explainer(images)


class Drops(Heads):
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return super().forward(nn.functional.dropout(images, training=True))


class Crops(nn.Module):
    """The mean of what is said of a picture and of its mirror image, in one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.member = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), Pooled(8))

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack(self.member(torch.cat([images, images.flip(3)])).chunk(2)).mean(0)


def test_what_is_random_and_what_makes_several_pictures_of_each_is_called_so() -> None:
    images = torch.randn(2, 3, 16, 16)
    with pytest.raises(MilrError, match="two results for the same images: .* is random, also in eval"):
        milr.MILR(Drops(), "body", "embed", example=images)
    with pytest.raises(MilrError, match="its layers give 4 rows for 2 .*, as of crops, flips or channels of each"):
        milr.MILR(Crops(), example=images)


def test_weights_that_are_made_anew_leave_a_linear_layer_one() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    parametrizations.weight_norm(network[0])
    parametrizations.orthogonal(network[4])
    assert milr.MILR(network, example=torch.randn(2, 3, 16, 16)).layers.z == "2"


def test_images_with_channels_last_have_maps_of_their_own_size() -> None:
    class Last(Heads):
        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return super().forward(images.permute(0, 3, 1, 2))

    images = torch.randn(8, 16, 24, 3)
    explainer = milr.MILR(Last(), example=images, output="kind")
    explainer.prepare(images)
    explainer.fitted = True
    assert explainer.attribute(images[:2]).shape == (2, 1, 16, 24)


class Backwards(nn.Module):
    """Words or times [K, T, 6] -> [K, 2], read from the last to the first."""

    def __init__(self, backwards: bool) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.backwards = backwards

    def forward(self, times: Tensor) -> Tensor:
        embedded = self.embed(times.flip(1) if self.backwards else times)
        return self.head(self.mix(embedded.relu()).relu().mean(1))


def test_a_sequence_that_is_read_backwards_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    for backwards in (False, True):
        caplog.clear()
        milr.MILR(Backwards(backwards), "embed", "mix", example=torch.randn(4, 20, 6))
        assert ("read as a row of 20, are not in the order of what the network is given" in caplog.text) is backwards


class Cosines(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 6))

    def forward(self, given: Tensor) -> Tensor:
        return 10 * nn.functional.normalize(given) @ nn.functional.normalize(self.weight).T


class Temperature(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(1.5))

    def forward(self, logits: Tensor) -> Tensor:
        return logits / self.value


class Bytes(nn.Module):
    """A linear layer whose weights are kept in bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randint(-128, 128, (4, 6), dtype=torch.int8))
        self.bias = nn.Parameter(torch.zeros(4))

    def forward(self, given: Tensor) -> Tensor:
        return given @ self.weight.to(given.dtype).T / 127 + self.bias


@pytest.mark.parametrize("end", [[Cosines()], [nn.Linear(6, 4), Temperature()], [Cosines(), Temperature()], [Bytes()]])
def test_a_head_of_ones_own_is_not_z(end: list[nn.Module]) -> None:
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6), nn.ReLU()]
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), *pooled, *end)
    layers = milr.MILR(network, example=torch.randn(2, 3, 16, 16)).layers
    assert (layers.z, layers.dimension) == ("5", 6)
