"""Which dimensions of a map [K, ?, ?, ?] are places, where a taller image does not tell: seen in changed patches.

So it is of networks of one size, and of those that bring every image to one size. Noise is changed one patch at a time:
the place of that patch must change more than most.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from milr.networks.inputs import Inputs
from milr.networks.layouts import CHANNELS_FIRST, CHANNELS_LAST, Layout
from milr.networks.tokens import CLEAR, Size, clearness, same_places, some_cells, with_changed_patches
from milr.networks.trace import Shape, resolution, trace

PATCHES = (8, 8)  # that the image is cut into, some of which are changed
FEWEST = 2  # places of a side


def shown_layouts(network: nn.Module, inputs: Inputs, runs: dict[int, Shape], image: Size) -> dict[int, Layout]:
    """Layouts of runs by their place in the trace, of those in which changed patches show one; `runs` has their shapes.

    `inputs` are two images of noise of this size.
    """
    cells = some_cells(PATCHES)

    def look(features: Tensor) -> Tensor | None:
        """How far each place is from the first image's, both ways to read them: [patches, H * W + H' * W']."""
        if features.ndim != 4 or not features.is_floating_point() or len(features) != 1 + len(cells):
            return None
        change = (features[1:] - features[:1]).float()
        return torch.cat([change.norm(dim=1).flatten(1), change.norm(dim=3).flatten(1)], 1).cpu()

    root, _ = trace(network, with_changed_patches(inputs, PATCHES, cells, image), look)
    seen = {number: run.seen for number, run in enumerate(root.finished()) if run.seen is not None}
    shown: dict[int, Layout] = {}
    for number, shape in runs.items():
        sizes = {kind: resolution(shape, kind) for kind in (CHANNELS_FIRST, CHANNELS_LAST)}
        places = [rows * columns for rows, columns in sizes.values()]
        if number not in seen or seen[number].shape[1] != sum(places):
            continue
        clear = {
            kind: clearness(changes, torch.tensor(same_places(cells, PATCHES, sizes[kind])))
            if min(sizes[kind]) >= FEWEST
            else 0.0
            for kind, changes in zip(sizes, seen[number].split(places, 1), strict=True)
        }
        best = max(clear, key=lambda kind: clear[kind])
        if clear[best] >= CLEAR:
            shown[number] = Layout(best, sizes[best])
    return shown
