"""`milr layers`: what each layer of a network gives, and what it can be for fit-milr."""

from __future__ import annotations

import logging

from milr.backbones.backbones import origin_of, untrained
from milr.networks.layer_table import layers as table_of
from milr.settings.schema import Layers
from milr.stages.devices import choose_device, example_images

log = logging.getLogger("milr")


def layers(settings: Layers) -> float:
    """Returns how many layers there are. The weights do not matter to the table, and are drawn."""
    device = choose_device(settings.device)
    origin = origin_of(settings.backbone, settings.dataset.size)
    table = table_of(untrained(origin).to(device), example_images(origin.size, device), settings.layers)
    log.info("%s, pictures of %d px\n%s", origin.name, origin.size, table)
    return float(len(table))
