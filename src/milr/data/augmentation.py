"""From uint8 pictures to the network's input, with chance or without."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torchvision.transforms import v2

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Augmentation:
    """How far training pictures may be changed."""

    scale_min: float = 0.5  # smallest share of the area that a random crop keeps
    flip: bool = True  # left to right, half of the time
    brightness: float = 0.3  # each of these: how far it may change
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.0


def augment(images: Tensor, settings: Augmentation, seed: int | str) -> Tensor:
    """uint8 [n, 3, S, S] -> the same shape, each picture with a draw of its own.

    A function of (images, settings, seed): torch's own random state is left as it was.
    """
    transforms: list[v2.Transform] = [v2.RandomResizedCrop(images.shape[-1], scale=(settings.scale_min, 1.0))]
    if settings.flip:
        transforms.append(v2.RandomHorizontalFlip())
    if settings.brightness or settings.contrast or settings.saturation or settings.hue:
        transforms.append(v2.ColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue))
    transform = v2.Compose(transforms)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_number(seed))
        return torch.stack([transform(image) for image in images])


def seed_number(seed: int | str) -> int:
    """A 63-bit number from a seed that may be text, the same on every machine."""
    import hashlib

    return int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:8], "big") >> 1


def to_input(images: Tensor, device: torch.device | None = None) -> Tensor:
    """uint8 [n, 3, S, S] -> float32 with ImageNet's mean and standard deviation taken out per channel.

    On `device`, if one is given. What travels is bytes, to a GPU without anybody waiting for it.
    """
    if device is not None:
        to_gpu = device.type == "cuda" and images.device.type == "cpu"
        images = (images.pin_memory() if to_gpu else images).to(device, non_blocking=to_gpu)
    mean, std = channel_constants(images.device)
    return (images.float() / 255 - mean) / std


@cache
def channel_constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """ImageNet's mean and standard deviation [3, 1, 1]; made once, since making them on a GPU waits for it."""
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return mean, std
