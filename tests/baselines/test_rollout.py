from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from milr.baselines.rollout import attention_rollout
from milr.errors import MilrError


def transformer() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=0).eval()


def test_without_attention_to_others_nothing_but_the_class_token_reaches_itself() -> None:
    network = transformer()
    for block in network.blocks:
        nn.init.zeros_(block.attn.qkv.weight)  # even attention: each token is 1/17 of every other, and half of itself
        nn.init.zeros_(block.attn.qkv.bias)
    heat = attention_rollout(network, torch.randn(3, 3, 16, 16), (4, 4))
    share = 1 / 17  # of a patch: half of it by the first block's mean, a half more of what is left by the second's
    assert torch.allclose(heat, torch.full((3, 4, 4), 0.5 * share + 0.5 * 0.5 * share))


def test_a_patch_that_the_class_token_looks_at_is_where_the_map_is() -> None:
    network, images = transformer(), torch.zeros(1, 3, 16, 16)
    images[0, :, 4:8, 8:12] = 5.0  # row 1, column 2
    with torch.no_grad():
        for block in network.blocks:
            nn.init.zeros_(block.attn.qkv.bias)
            block.attn.proj.weight.zero_()  # tokens stay what they were: attention alone is looked at
        tokens = network.norm_pre(network.pos_drop(network._pos_embed(network.patch_embed(images))))
        block = network.blocks[0]
        wanted = block.norm1(tokens)[0, 7] - block.norm1(tokens)[0, 1:].mean(0)  # 1 + 4 + 2
        query, key = block.attn.qkv.weight[:16], block.attn.qkv.weight[16:32]
        query.copy_(torch.outer(torch.ones(16), block.norm1(tokens)[0, 0]))
        key.copy_(torch.outer(torch.ones(16), wanted))
    heat = attention_rollout(network, images, (4, 4))[0]
    assert heat.argmax() == 6


def test_networks_without_attention_over_the_map_are_refused() -> None:
    for network, shape in ((nn.Conv2d(3, 4, 3), (16, 16)), (transformer(), (5, 5))):
        with pytest.raises(MilrError, match="transformers"):
            attention_rollout(network.eval(), torch.randn(2, 3, 16, 16), shape)
