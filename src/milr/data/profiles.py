"""Colour profiles: a picture's numbers as sRGB has them, which screens and networks take every picture's to be."""

from __future__ import annotations

import warnings
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # a profile's space of colours -> the mode that it is applied to
AS_IT_IS = 8  # of 255: what profiles called sRGB are off it at most; those of other spaces are 50 and more off
GRID = 9  # values of each channel for which a profile is tried


def in_srgb(picture: Image.Image) -> Image.Image:
    """An 8-bit picture without transparency in RGB, by its colour profile (Adobe RGB, Display P3, a printer's).

    Without one, or with one of sRGB, to the bit what Pillow makes of it. A UserWarning for one that cannot be used.
    """
    profile = picture.info.get("icc_profile")
    if not isinstance(profile, bytes) or not profile or picture.mode == "LAB":
        return picture.convert("RGB")
    grey = picture.mode in ("L", "1")
    try:
        mode, transform = transform_of(profile, "CMYK" if picture.mode == "CMYK" else "GRAY" if grey else "RGB")
    except (ImageCms.PyCMSError, ImportError, OSError, TypeError, ValueError) as error:
        warnings.warn(f"its colour profile cannot be used ({error}): its colours are taken as sRGB's", stacklevel=2)
        transform = None
    return picture.convert("RGB") if transform is None else apply(transform, picture.convert(mode))


@lru_cache(maxsize=32)
def transform_of(profile: bytes, space: str) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The mode that a profile is applied to, and how; None where it leaves such colours nearly as they are.

    space: of the picture. Of a grey one the profile may be one of RGB. Errors: whatever Pillow raises for a damaged
    profile, ValueError for one of another space.
    """
    read = ImageCms.ImageCmsProfile(BytesIO(profile))
    own = str(read.profile.xcolor_space).strip()
    if own != space and (space, own) != ("GRAY", "RGB"):
        raise ValueError(f"it is of {own}, and the picture of {space}")
    mode = MODES[own]
    transform = ImageCms.buildTransform(read, ImageCms.createProfile("sRGB"), mode, "RGB")
    return mode, transform if mode == "CMYK" or changes(transform, mode) else None


def changes(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform makes visibly other colours of those of a mode (L or RGB)."""
    values, count = np.linspace(0, 255, GRID).round().astype(np.uint8), Image.getmodebands(mode)
    every = np.stack(np.meshgrid(*[values] * count, indexing="ij"), -1)
    tried = Image.frombytes(mode, (GRID ** (count - 1), GRID), every.tobytes())
    now, before = (np.asarray(each).astype(int) for each in (apply(transform, tried), tried.convert("RGB")))
    return bool(np.abs(now - before).max() > AS_IT_IS)


def apply(transform: ImageCms.ImageCmsTransform, picture: Image.Image) -> Image.Image:
    """The picture by a transform."""
    converted = ImageCms.applyTransform(picture, transform)
    assert converted is not None  # as it is of a transform that is not in place
    return converted
