"""Images far from those of the fit, of 0 to 255 where it saw 0 to 1, say: their maps are warned of."""

from __future__ import annotations

import logging

from torch import Tensor

log = logging.getLogger("milr")

FAR = 5.0  # standard deviations of the training images' features; theirs are 1 on average (root mean square)


def warn_of_far(standardised: Tensor) -> None:
    """A warning in the log that names the first image of which the local features [K, C, H, W] are far."""
    away = standardised.double().square().flatten(1).mean(1).sqrt()
    if far := (away > FAR).nonzero().flatten().tolist():
        log.warning(
            "the features of image %d (of %d such among %d) lie %.3g standard deviations from those of the fit, where "
            "1 is usual: are its values scaled and normalised as the fit's were? Its maps mean little if not",
            far[0],
            len(far),
            len(away),
            float(away[far[0]]),
        )
