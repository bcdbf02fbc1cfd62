"""Which dimension of a layer's tensor is the words or times of a sequence, and which tokens beside them are none.

A longer sequence tells: the dimension that grows, and by how much less than it should where tokens of a class stand
beside the places. Networks of one length, and which tokens these are, show themselves in short spans of the input that
are changed, one at a time: the place of each must change most.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from milr.networks.inputs import Inputs, main_tensor, with_main
from milr.networks.layouts import CHANNELS_FIRST, SEQUENCE, Layout
from milr.networks.tokens import EXTRA, clearness
from milr.networks.trace import Shape, trace

STARTS = tuple((number + 0.37) / 8 for number in range(8))  # of the spans, as shares of the length
NARROW = 64  # of the length is a span
FEWEST = 3  # spans that change anything, and places fewer than which nothing shows
CLEAR = 0.9  # of the places must change less than a span's own, of as many places as the sequence is long
EXACT, NEAR = 0.6, 0.8  # of the spans must change their own place most, and it or one beside it
FAINT = 1e-6  # of the largest change: none


def sequence_layouts(
    network: nn.Module, images: Inputs, runs: dict[int, Shape], longer: dict[int, Shape | None], axis: int | None
) -> dict[int, Layout]:
    """Layouts of runs [K, T, C] or [K, C, T] by their place in the trace.

    `longer` has the shapes of the same runs' outputs for a sequence of twice the length, None where they are not known,
    and `axis` is the input's that was made longer; None where the network takes one length only.
    """
    by_run: dict[int, Layout] = {}
    doubtful: dict[int, tuple[int, ...]] = {}  # how many tokens that are no places each run may have
    for number, shape in runs.items():
        more = longer.get(number)
        grows = [at for at in (1, 2) if more is not None and len(more) == 3 and more[at] > shape[at]]
        if grows == [2]:
            by_run[number] = Layout(CHANNELS_FIRST, (1, shape[2]))
        elif grows == [1]:
            by_run[number] = Layout(SEQUENCE, (1, shape[1]))
            extra = 2 * shape[1] - (more or ())[1]  # strides give one where the length is odd
            if 0 < extra <= EXTRA and extra < shape[1] - 1:
                doubtful[number] = (0, extra)
        elif more is None or not grows:
            doubtful[number] = tuple(range(EXTRA + 1))
    main = main_tensor(images)
    for along in [axis] if axis else range(1, main.ndim):
        if doubtful and main.shape[along] >= FEWEST:
            seen = _changes(network, images, along)
            shown = {
                number: _layout_shown(seen[number], runs[number], extras, main.shape[along])
                for number, extras in doubtful.items()
                if number in seen
            }
            by_run |= {number: layout for number, layout in shown.items() if layout}
    return by_run


def _changes(network: nn.Module, images: Inputs, axis: int) -> dict[int, Tensor]:
    """How much each row [n, T] and each column [n, C] of each run changes with a span of the input: [n, T + C]."""
    main = main_tensor(images)
    length = main.shape[axis]
    rows = main[:1].repeat(1 + len(STARTS), *[1] * (main.ndim - 1))
    for row, share in zip(rows[1:], STARTS, strict=True):
        span = int(share * length), max(1, length // NARROW)
        row.narrow(axis - 1, *span).copy_(main[1].narrow(axis - 1, *span))

    def look(features: Tensor) -> Tensor | None:
        """The change of each row and column, where there are two dimensions of them."""
        if features.ndim != 3 or not features.is_floating_point() or len(features) != len(rows):
            return None
        change = (features[1:] - features[:1]).float()
        return torch.cat([change.norm(dim=2), change.norm(dim=1)], 1).cpu()

    root, _ = trace(network, with_main(images, rows), look)
    return {number: run.seen for number, run in enumerate(root.finished()) if run.seen is not None}


def _layout_shown(seen: Tensor, shape: Shape, extras: Iterable[int], length: int) -> Layout | None:
    """The layout that the changes of a run of this shape show, if they show one."""
    best: tuple[float, Layout] | None = None
    for axis, changes in zip((1, 2), seen.split([shape[1], shape[2]], 1), strict=True):
        shown = changes.amax(1) > FAINT * changes.max()
        if shown.sum() < FEWEST:
            continue
        starts = torch.tensor([int(share * length) / length for share in STARTS])[shown]
        most = changes[shown].argmax(1)
        for extra in extras if axis == 1 else (0,):
            places = shape[axis] - extra
            own = (starts * places).long()
            for prefix in range(extra + 1) if places > FEWEST else ():
                exact = float((most == prefix + own).float().mean())
                near = float(((most - prefix - own).abs() <= 1).float().mean())
                clear = extra == 0 and places == length and clearness(changes[shown], own) >= CLEAR
                if ((exact >= EXACT and near >= NEAR) or clear) and exact > (best[0] if best else -1.0):
                    kind = SEQUENCE if axis == 1 else CHANNELS_FIRST
                    best = exact, Layout(kind, (1, places), prefix)
    return best[1] if best else None
