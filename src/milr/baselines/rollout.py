"""Attention rollout (Abnar and Zuidema 2020): which patches a transformer's class token has looked at, block by block.

It knows nothing of the decision. Attention is seen in torch's own function for it, `scaled_dot_product_attention`,
which timm's and Hugging Face's networks call by default.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from milr.errors import MilrError
from milr.networks.layers import frozen
from milr.networks.wrappers import uncompiled


class Attentions(TorchFunctionMode):
    """While it is on, keeps the weights [K, heads, T, T] of every self-attention, in the order in which they run."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by torch in place of each of its functions."""
        if func is scaled_dot_product_attention:
            self.weights.append(attention_weights(*args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))


def attention_weights(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: Any, **named: Any
) -> Tensor:
    """softmax(q k' / sqrt(d) + mask): [K, heads, T, T]."""
    scale = named.get("scale") or 1 / math.sqrt(query.shape[-1])
    scores = query @ key.transpose(-2, -1) * scale
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return scores.softmax(-1)


def attention_rollout(network: nn.Module, images: Tensor, shape: tuple[int, int]) -> Tensor:
    """Of images [K, 3, S, S] how much of each patch reaches the class token (without one: all tokens' mean): [K, H, W].

    MilrError for a network without such attention, or whose tokens are not a grid of H x W after class and registers.
    """
    seen = Attentions()
    with torch.no_grad(), frozen(network), uncompiled(), seen:
        network(images)
    places = shape[0] * shape[1]
    count = seen.weights[0].shape[-1] if seen.weights else 0
    if count < places or any(w.shape[-2:] != (count, count) or len(w) != len(images) for w in seen.weights):
        raise MilrError("attention rollout is defined for transformers whose blocks attend over all patches of the map")
    prefix = count - places
    reached = torch.eye(count, device=images.device).expand(len(images), -1, -1)
    for weights in seen.weights:
        # A block's sum with its input counts as half of it, each row sums to 1 (their section 3).
        reached = (weights.float().mean(1) / 2 + torch.eye(count, device=images.device) / 2) @ reached
    rows = reached[:, 0] if prefix else reached.mean(1)
    return rows[:, prefix:].unflatten(1, shape)
