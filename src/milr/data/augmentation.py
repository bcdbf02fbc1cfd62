"""From uint8 pictures to the network's input, with chance or without."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from milr.data.settings import Augmentation, AugmentationSettings
from milr.seeding import seed_number

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# From RGB to brightness (Y) and two axes of colour (I, Q) of the NTSC standard.
YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
GROUP = 25  # pictures changed at once: what is between fits the processor's cache, and memory is used again
WIDEST = 4 / 3  # a crop's width over its height is at most this, and at least the inverse


@dataclass(frozen=True)
class Normalisation:
    """What a network wants taken out of its pictures: each channel's mean and standard deviation, of values 0 to 1."""

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def of(self, value: float) -> list[float]:
        """What the network sees of a grey of this value: 0 is black, 1 is white."""
        return [(value - mean) / std for mean, std in zip(self.mean, self.std, strict=True)]


IMAGENET = Normalisation()


def augmentation_of(settings: AugmentationSettings) -> Augmentation | None:
    """None where it is switched off."""
    return settings if settings.enabled else None


def augment(images: Tensor, settings: Augmentation, seed: int | str, normalisation: Normalisation = IMAGENET) -> Tensor:
    """uint8 [n, 3, S, S] -> the network's input, float32 of that shape, as `to_input` of pictures changed by chance.

    Each picture has a draw of its own, which those after it do not change. A function of (images, settings, seed):
    torch's own random state is left as it was. The work is done on the device on which the images lie.
    """
    chance = torch.rand(len(images), 9, generator=torch.Generator().manual_seed(seed_number(seed)))
    columns, rows = (part.to(images.device) for part in crop_places(chance[:, :5], settings, images.shape[-1]))
    colours, greys = (part.to(images.device) for part in colour_change(chance[:, 5:], settings))
    mean, std = statistics(normalisation, images.device)
    colours = colours / (255 * std)  # with the normalisation in it, one product does both
    greys = greys[:, None, None] * colours.new_tensor(YIQ[0]) / (255 * std)  # [n, 3, 3], of a picture's mean colour
    changed = torch.empty(images.shape, device=images.device)
    for start in range(0, len(images), GROUP):
        group = slice(start, start + GROUP)
        # Complex numbers are pairs in memory, as a grid's places are: stacking takes twice as long.
        grid = torch.view_as_real(torch.complex(columns[group, None, :], rows[group, :, None]))
        # A crop is never larger than the picture that it becomes: bilinear values need no antialiasing.
        cut = grid_sample(images[group].float(), grid, padding_mode="border", align_corners=False).flatten(2)
        shift = greys[group] @ cut.mean(2, keepdim=True) - mean / std
        torch.baddbmm(shift, colours[group], cut, out=changed[group].view(cut.shape))
        for channel, (low, high) in enumerate(zip(normalisation.of(0), normalisation.of(1), strict=True)):
            changed[group, channel].clamp_(low, high)  # to plain numbers: to a tensor of bounds takes 7 times as long
    return changed


def crop_places(chance: Tensor, settings: Augmentation, size: int) -> tuple[Tensor, Tensor]:
    """From where the columns and the rows of the cut pictures come: chance [n, 5] -> [n, S] each, from -1 to 1.

    The share of the area is uniform between `scale_min` and 1, the logarithm of width over height between those that
    fit into the picture at that area (at most 4:3), the place uniform.
    """
    area, shape, left, top, flip = chance[:, :, None].unbind(1)
    area = settings.scale_min + (1 - settings.scale_min) * area
    widest = (-area.log()).clamp(max=math.log(WIDEST))
    ratio = torch.exp(widest * (2 * shape - 1))
    width, height = (area * ratio).sqrt(), (area / ratio).sqrt()
    centres = (2 * torch.arange(size) + 1) / size - 1  # of the pixels
    mirrored = torch.where(flip < 0.5, -1.0, 1.0) if settings.flip else 1.0
    columns = (1 - width) * (2 * left - 1) + width * mirrored * centres
    return columns, (1 - height) * (2 * top - 1) + height * centres


def colour_change(chance: Tensor, settings: Augmentation) -> tuple[Tensor, Tensor]:
    """The jitter as one map of colours: chance [n, 4] -> matrices [n, 3, 3], and the share of the mean brightness
    that is added to every value [n].

    Brightness multiplies all values, contrast moves them from the picture's mean luminance, saturation from the pixel's
    own; hue turns the colour around the grey axis. These are linear and commute, so that their order does not matter;
    values are clipped once, afterwards.
    """
    far = torch.tensor([settings.brightness, settings.contrast, settings.saturation])
    brightness, contrast, saturation = (1 + far * (2 * chance[:, :3] - 1)).unbind(1)
    angle = 2 * math.pi * settings.hue * (2 * chance[:, 3] - 1)
    grey, coloured, quarter = colour_axes()
    turned = angle.cos()[:, None, None] * coloured + angle.sin()[:, None, None] * quarter
    colours = (brightness * contrast)[:, None, None] * (grey + saturation[:, None, None] * turned)
    return colours, brightness * (1 - contrast)


@cache
def colour_axes() -> tuple[Tensor, Tensor, Tensor]:
    """Matrices [3, 3]: a colour -> its luminance, three times; what is left of it; that, turned by 90° around grey."""
    to_yiq = torch.tensor(YIQ)
    grey = to_yiq[0].expand(3, 3)
    quarter = torch.linalg.inv(to_yiq) @ torch.tensor([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ to_yiq
    return grey, torch.eye(3) - grey, quarter


def to_input(images: Tensor, device: torch.device | None = None, normalisation: Normalisation = IMAGENET) -> Tensor:
    """uint8 [n, 3, S, S] -> float32 with each channel's mean and std taken out; on `device`, if given."""
    values = (images if device is None else to_device(images, device)).float()
    mean, std = statistics(normalisation, values.device)
    return values.div_(255).sub_(mean[..., None]).div_(std[..., None])


def input_batches(
    images: Tensor, device: torch.device, batch_size: int, normalisation: Normalisation
) -> Iterator[Tensor]:
    """uint8 images [n, 3, S, S] as `to_input` makes them: batches [<= batch_size, 3, S, S] on the device, in order."""
    for part in images.split(batch_size):
        yield to_input(part, device, normalisation)


def to_device(images: Tensor, device: torch.device) -> Tensor:
    """The same bytes on the device; on their way to a GPU nobody waits for them."""
    to_gpu = device.type == "cuda" and images.device.type == "cpu"
    return (images.pin_memory() if to_gpu else images).to(device, non_blocking=to_gpu)


@cache
def statistics(normalisation: Normalisation, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel [3, 1], of values from 0 to 1; made once: on a GPU that waits."""
    mean, std = (torch.tensor(values, device=device)[:, None] for values in (normalisation.mean, normalisation.std))
    return mean, std
