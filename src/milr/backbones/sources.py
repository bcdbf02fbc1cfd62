"""Networks of others: a row for each source, whose package is imported when a network of it is asked for.

All networks are taken without their classifier, as their authors do that, unless it is wanted.
"""

from __future__ import annotations

import json
import sys

from milr.backbones.imported_models import imported_network, imported_pictures, no_pretrained
from milr.backbones.origins import Source
from milr.backbones.timm_models import timm_adapted, timm_heads, timm_network, timm_pictures
from milr.backbones.torchvision_models import (
    torchvision_adapted,
    torchvision_heads,
    torchvision_network,
    torchvision_pictures,
    torchvision_weights,
)
from milr.backbones.transformers_models import (
    transformers_adapted,
    transformers_config,
    transformers_network,
    transformers_pictures,
    transformers_pretrained,
)
from milr.bars import moving

SOURCES = {
    "timm": Source(
        timm_pictures,
        timm_network,
        lambda origin: timm_network(origin, pretrained=True).state_dict(),
        timm_adapted,
        timm_heads,
    ),
    "torchvision": Source(
        torchvision_pictures,
        torchvision_network,
        lambda origin: torchvision_weights(origin.name).get_state_dict(progress=moving(sys.stderr)),
        torchvision_adapted,
        torchvision_heads,
    ),
    "transformers": Source(
        transformers_pictures,
        transformers_network,
        transformers_pretrained,
        transformers_adapted,
        lambda origin, network: ("pooler",),
        lambda name: json.dumps(transformers_config(name).to_dict(), default=str),
    ),
    "import": Source(imported_pictures, imported_network, no_pretrained),
}
