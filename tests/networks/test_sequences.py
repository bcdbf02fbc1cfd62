"""Where the places are in layers of words and times: class tokens, one length only, masks in a dict."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import milr


class Signals(nn.Module):
    """[K, 3, 128] -> a transformer of 16 patches, with a class token before or behind them or a mean; -> [K, 4]."""

    def __init__(self, where: str, fixed: bool, width: int = 16) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.where, self.patches, self.norm, self.fc = where, nn.Conv1d(3, 16, 8, 8), nn.LayerNorm(16), nn.Linear(16, 4)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, 16)), nn.Parameter(torch.randn(1, 17, 16) / 4)
        layers = [nn.TransformerEncoderLayer(16, 2, width, batch_first=True) for _ in range(3)]
        self.fixed, self.blocks = fixed, nn.Sequential(*layers)

    def forward(self, given: Tensor) -> Tensor:
        tokens = self.patches(given).transpose(1, 2)
        token = self.token.expand(len(tokens), -1, -1)
        parts = {"before": [token, tokens], "behind": [tokens, token], "mean": [tokens]}[self.where]
        tokens = torch.cat(parts, 1)
        if self.fixed:
            tokens = tokens + self.positions[:, -tokens.shape[1] :]  # fails for more
        tokens = self.norm(self.blocks(tokens))
        read = {"before": tokens[:, 0], "behind": tokens[:, -1], "mean": tokens.mean(1)}[self.where]
        return self.fc(read)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("where", ["before", "behind"])
def test_a_class_token_is_no_place_of_a_sequence(where: str, fixed: bool) -> None:
    network, given = Signals(where, fixed), torch.randn(8, 3, 128)
    explainer = milr.MILR(network, "blocks.0", "norm", example=given)
    layers = explainer.layers
    assert (layers.grid, layers.layouts["blocks.0"].prefix) == ((1, 16), int(where == "before"))
    first = layers.first_pass(given)
    torch.testing.assert_close(network.fc(first.representation), first.output)  # z is the token that the head reads
    changed = given.clone()
    changed[:, :, 24:32] = given.flip(0)[:, :, 24:32]  # the fourth patch
    change = (layers.first_pass(changed).local - first.local).norm(dim=1)
    assert (change.flatten(1).argmax(1) == 3).all()
    explainer.prepare(given.split(4))
    again = milr.MILR.load(network, explainer.state()).layers
    assert again.layouts == layers.layouts and torch.equal(again.first_pass(given).representation, first.representation)


def test_places_of_a_network_of_one_length_are_found_by_what_changes() -> None:
    layers = milr.MILR(Signals("mean", True), example=torch.randn(4, 3, 128)).layers
    assert (layers.local, layers.z, layers.grid) == ("patches", "fc.input", (1, 16))
    assert layers.layouts["blocks.0"].kind == "sequence"


def test_as_many_channels_as_times_are_no_times() -> None:
    network = Signals("before", True, width=128)
    rows = {row.name: row.layout for row in milr.layers(network, torch.randn(4, 3, 128))}
    assert rows["blocks.1.linear1"] == "sequence 1 + 16"  # its 128 channels are none of the 128 times


class Words(nn.Module):
    """A transformer with a stride of two over its words and their mask."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.shorter = nn.Embedding(20, 8), nn.Conv1d(8, 8, 2, 2)
        self.block, self.fc = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        tokens = self.shorter((self.embed(words) * mask[..., None]).transpose(1, 2)).transpose(1, 2)
        return self.fc(self.block(tokens).mean(1))


def test_words_in_a_dict_are_made_longer_with_their_mask() -> None:
    given = {"words": torch.randint(0, 20, (4, 12)), "mask": torch.ones(4, 12).long()}
    rows = {row.name: row.layout for row in milr.layers(Words(), given)}
    assert (rows["embed"], rows["shorter"], rows["block"]) == ("sequence 12", "channels_first 1 x 6", "sequence 6")


class Scaler(nn.Module):
    def forward(self, given: Tensor) -> Tensor:
        return given / given.abs().mean((1, 2), keepdim=True)


def test_a_scaled_input_is_no_representation() -> None:
    network = nn.Sequential(Scaler(), nn.Unflatten(2, (3, 1)), nn.Conv2d(20, 8, 1), nn.Flatten(), nn.Linear(24, 4))
    layers = milr.MILR(network, example={"input": torch.randn(4, 20, 3)}).layers
    assert (layers.local, layers.z, layers.dimension) == ("0", "3", 24)
