"""A network of two towers, pictures and text: a text is a target, and only its embedding is needed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import milr

transformers = pytest.importorskip("transformers")


class PictureTower(nn.Module):
    """Pictures to the space that they share with texts, as a user would write it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.vision, self.projection = model.vision_model, model.visual_projection

    def forward(self, images: Tensor) -> Tensor:
        embedding: Tensor = self.projection(self.vision(images).pooler_output)
        return embedding


@pytest.fixture(scope="module")
def clip() -> nn.Module:
    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={
            **small,
            "vocab_size": 40,
            "bos_token_id": 1,
            "pad_token_id": 0,
            "max_position_embeddings": 8,
            "eos_token_id": 39,
        },
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    model: nn.Module = transformers.CLIPModel(config).eval()
    return model


def test_a_map_for_a_text_keeps_what_is_like_it(clip: nn.Module) -> None:
    """The text's embedding is all that the map needs, and another text gives another map."""
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    words = torch.tensor([[1, 5, 9, 39], [1, 17, 30, 39]])
    with torch.no_grad():
        texts = clip.text_projection(clip.text_model(words).pooler_output)
    explainer = milr.MILR(PictureTower(clip), local="vision.encoder.layers.0", z="projection", example=images[:2])
    explainer.prepare(images.split(4))
    explainer.fitted = True  # the amortised mask is as it was made: all differences come of the texts
    maps = [
        explainer.maps(images, refine=15, target=milr.towards(own, against=other[None])).decision
        for own, other in (texts, texts.flip(0))
    ]
    assert maps[0].shape == (8, 4, 4)  # patches, without the class token
    assert not torch.allclose(maps[0], maps[1], rtol=0.05)


def test_with_both_inputs_the_pictures_tower_is_read_and_not_the_texts(clip: nn.Module) -> None:
    words = torch.tensor([[1, 5, 9, 39], [1, 17, 30, 39]])
    example = {"input_ids": words, "attention_mask": torch.ones_like(words), "pixel_values": torch.randn(2, 3, 32, 32)}
    layers = milr.MILR(clip, example=example).layers  # the table of positions has a row for all
    assert (layers.local, layers.z) == ("vision_model.encoder.layers.0", "vision_model.post_layernorm")
