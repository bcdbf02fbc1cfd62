"""z where no layer gives it: what goes into the last layer, and the word of a row that the output comes from."""

import logging
from collections import OrderedDict
from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torchvision.models import densenet121

import milr
from milr.errors import MilrError
from milr.networks.layers import LayerPair
from milr.networks.settings import LayerSettings

WORDS = torch.randint(1, 20, (4, 10), generator=torch.Generator().manual_seed(0))


class Rows(nn.Module):
    """Words through a network of which `ending` makes the output."""

    def __init__(self, ending: Callable[["Rows", Tensor], Tensor]) -> None:
        super().__init__()
        self.embed, self.gru, self.head = nn.Embedding(20, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 4)
        self.both = nn.GRU(8, 4, batch_first=True, bidirectional=True)  # each of its words knows of all
        self.ending = ending

    def forward(self, words: Tensor) -> Tensor:
        return self.ending(self, self.embed(words))


def went_in(network: nn.Module, layer: nn.Module, given: Tensor) -> Tensor:
    """What goes into a layer."""
    seen: list[Tensor] = []
    with torch.no_grad(), layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0])):
        network(given)
    return seen[0]


@pytest.mark.parametrize(
    "ending",
    [
        lambda rows, words: rows.head(rows.gru(words)[0][:, -1]),
        lambda rows, words: rows.head(rows.gru(words)[1][-1]),  # the state at the end, which no row holds
        lambda rows, words: rows.head(rows.gru(words)[0].amax(1)),
        lambda rows, words: rows.head(rows.gru(words)[0].mean(1)),
    ],
)
def test_what_a_network_of_words_makes_of_its_row_is_z(ending: Callable[[Rows, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    network = Rows(ending).eval()
    pair = LayerPair(network, WORDS)
    assert (pair.local, pair.z) == ("embed", "head.input")
    first = pair.first_pass(WORDS)
    assert torch.equal(first.representation, went_in(network, network.head, WORDS))
    torch.testing.assert_close(pair.second_pass(first.local, WORDS).representation, first.representation)


def test_what_a_network_pools_itself_is_z() -> None:
    torch.manual_seed(0)
    network, images = densenet121(num_classes=3).eval(), torch.randn(2, 3, 64, 64)
    pair = LayerPair(network, images)
    assert pair.z == "classifier.input"
    with torch.no_grad():
        pooled = adaptive_avg_pool2d(network.features(images).relu(), 1).flatten(1)
    torch.testing.assert_close(pair.first_pass(images).representation, pooled)
    (row,) = [row for row in milr.layers(network, images) if "z" in row.default]
    assert (row.name, row.shape, row.can) == ("classifier.input", (1024,), ("z",))


@pytest.mark.parametrize(("word", "number"), [(-1, 9), (0, 0), (4, 4)])
def test_the_word_that_the_output_comes_from_is_z(word: int, number: int) -> None:
    torch.manual_seed(0)
    network = Rows(lambda rows, words: rows.head(rows.both(words)[0])[:, word]).eval()
    pair = LayerPair(network, WORDS, LayerSettings("embed", "both"))
    with torch.no_grad():
        given = network.both(network.embed(WORDS))[0]
    again = LayerPair(network, WORDS, pair.choice)
    for one in (pair, again):
        torch.testing.assert_close(one.first_pass(WORDS).representation, given[:, number])


def test_of_words_that_all_count_z_is_the_mean() -> None:
    torch.manual_seed(0)
    network = Rows(lambda rows, words: rows.head(rows.both(words)[0]).mean(1)).eval()
    pair = LayerPair(network, WORDS, LayerSettings("embed", "both"))
    with torch.no_grad():
        mean = network.both(network.embed(WORDS))[0].mean(1)
    torch.testing.assert_close(pair.first_pass(WORDS).representation, mean)


class Padded(Rows):
    """The output is that of the last word before the padding."""

    def __init__(self) -> None:
        super().__init__(lambda rows, words: rows.head(rows.gru(words)[0]))

    def forward(self, words: Tensor) -> Tensor:
        end = (words != 0).sum(1) - 1
        return super().forward(words)[torch.arange(len(words)), end]


class Mean(Rows):
    """The output is the mean of the words that are no padding."""

    def __init__(self) -> None:
        super().__init__(lambda rows, words: rows.both(words)[0])

    def forward(self, words: Tensor) -> Tensor:
        known = (words != 0).float()[..., None]
        return (super().forward(words) * known).sum(1) / known.sum(1)


def test_an_end_before_the_padding_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    given = WORDS.clone()
    given[:, 7:] = 0
    with caplog.at_level(logging.WARNING, "milr"):
        LayerPair(Padded().eval(), given, LayerSettings("embed", "gru"))
    assert "neither the first nor the last" in caplog.text
    caplog.clear()
    LayerPair(Padded().eval(), WORDS, LayerSettings("embed", "gru"))
    assert not caplog.text


def test_a_batch_of_padded_texts_shows_that_z_is_another_word(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    whole, given = WORDS.repeat(2, 1), WORDS.repeat(2, 1).roll(1, 1)
    given[1:4, 6:] = 0
    for network, z, said in ((Padded(), "gru", "comes from others"), (Mean(), "both", "does not depend on their")):
        pair = LayerPair(network.eval(), WORDS[:1], LayerSettings("embed", z))
        pair.check_larger(whole, pair.first_pass(whole))
        assert not caplog.text
        pair.largest_checked = 1
        pair.check_larger(given, pair.first_pass(given))
        assert f"of 3 of 8 sequences the network's output {said}" in caplog.text
        caplog.clear()


def test_what_goes_into_a_layer_can_be_named_as_z_alone() -> None:
    network = Rows(lambda rows, words: rows.head(rows.gru(words)[0][:, -1])).eval()
    with pytest.raises(MilrError, match="local='gru.input': what goes into a layer can be z alone"):
        LayerPair(network, WORDS, LayerSettings("gru.input", "head"))
    with pytest.raises(MilrError, match="no layer 'hed.input'; nearest: .*head"):
        LayerPair(network, WORDS, LayerSettings("embed", "hed.input"))
    pair = LayerPair(network, WORDS, LayerSettings("embed", "head.input"))
    assert pair.dimension == 8 and not network.head._forward_pre_hooks


def test_who_says_how_z_is_read_means_a_layers_tokens() -> None:
    torch.manual_seed(0)
    network = Rows(lambda rows, words: rows.head(rows.gru(words)[0][:, -1])).eval()
    with torch.no_grad():
        given = network.gru(network.embed(WORDS))[0]
    by_function = LayerPair(network, WORDS, read=lambda tokens: tokens[:, 3])
    assert by_function.z == "gru" and torch.equal(by_function.first_pass(WORDS).representation, given[:, 3])
    pooled = LayerPair(network, WORDS, LayerSettings(read="pool"))
    torch.testing.assert_close(pooled.first_pass(WORDS).representation, given.mean(1))


class Parts(nn.Module):
    """A map that is pooled in two ways, or beside what the colours are, or whose classes are pooled."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how, self.body, self.deep = how, nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 3, 2, 1)
        self.mean, self.most, self.colours = nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1), nn.Linear(3, 8)
        self.classes, self.head = nn.Conv2d(8, 4, 1), nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        deep = self.deep(self.body(images).relu()).relu()
        if "classes" in self.how:
            return self.mean(self.classes(deep).relu()).flatten(1)
        beside = self.colours(images.mean((2, 3))) if "colours" in self.how else self.most(deep).flatten(1)
        joined = torch.cat([self.mean(deep).flatten(1), beside], 1)
        return self.head(joined) if "head" in self.how else joined


@pytest.mark.parametrize("how", ["two ways, head", "colours, head"])
def test_what_is_put_together_of_several_parts_is_z(how: str, caplog: pytest.LogCaptureFixture) -> None:
    images = torch.rand(4, 3, 32, 32)
    pair = LayerPair(Parts(how), images)
    assert (pair.local, pair.z) == ("body", "head.input")
    assert "taken for z" not in caplog.text


def test_one_of_several_parts_as_z_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    pair = LayerPair(Parts("two ways"), torch.rand(4, 3, 32, 32))
    assert pair.z == "mean" and "goes past the layer 'mean', which is taken for z" in caplog.text


def test_maps_of_classes_that_are_pooled_are_the_answer_and_not_z() -> None:
    pair = LayerPair(Parts("classes"), torch.rand(4, 3, 32, 32))
    assert (pair.z, pair.dimension) == ("deep", 8)


class NormAct(nn.BatchNorm2d):
    """A norm that holds its activation, as timm has them."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU()

    def forward(self, input: Tensor) -> Tensor:
        return self.act(super().forward(input))


class OwnConvolution(nn.Conv2d):
    """A convolution of one's own, as timm's networks without norms have them."""


@pytest.mark.parametrize(
    "wide",
    [
        nn.Sequential(nn.Conv2d(16, 24, 1), NormAct(24)),
        nn.Sequential(nn.Conv2d(16, 24, 1), nn.BatchNorm2d(24, affine=False)),
        OwnConvolution(16, 24, 1),
    ],
)
def test_a_last_convolution_that_makes_an_embedding_is_no_answer_of_classes(wide: nn.Module) -> None:
    body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
    network = nn.Sequential(OrderedDict(body=body, wide=wide, pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten()))
    pair = LayerPair(network.eval(), torch.rand(4, 3, 32, 32))
    assert (pair.z, pair.dimension) == ("pool", 24)


@pytest.mark.parametrize(
    ("name", "z", "width"),
    [("tf_efficientnet_lite0", "global_pool", 1280), ("rexnet_100", "head", 1280), ("nf_regnet_b0", "head", 960)],
)
def test_without_its_classifier_a_network_has_the_embedding_that_it_had(name: str, z: str, width: int) -> None:
    network = timm.create_model(name, pretrained=False, num_classes=0).eval()
    pair = LayerPair(network, torch.rand(2, 3, 64, 64))
    assert (pair.z, pair.dimension) == (z, width)
