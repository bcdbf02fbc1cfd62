"""A first guess of the layer pair, for who names none: a map of middling resolution, the last pooled embedding."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from itertools import chain

from torch import nn

from milr.networks.inspection import ENTRY, Inspection
from milr.networks.layouts import SEQUENCE, TOKENS
from milr.networks.no_guess import no_guess
from milr.networks.paths import PAST, TRIES, Paths
from milr.networks.settings import LayerSettings
from milr.networks.trace import Call

log = logging.getLogger("milr")

SIDE = 21  # places a side that the local layer should have: between 14 and 32 on a scale of ratios
MOST_PLACES = 64  # a side, of a layer that is none of the usual ones
NOTHING = (nn.Dropout, nn.Identity, nn.Flatten)
LINKS = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid)  # what makes probabilities of logits


def with_guesses(layers: Inspection, choice: LayerSettings, paths: Paths, reads: bool = False) -> LayerSettings:
    """The choice with names for the layers that it leaves open; MilrError where none can be.

    Of a network that runs all its layers more than once (a Siamese one) the first run is taken. reads: z is read by a
    function of the user's, which is of what a layer gives.
    """
    if choice.call < 0 and not layers.readout_layers():
        layers.choice = replace(choice, call=0)
        layers.choice = choice = layers.choice if layers.readout_layers() else choice
    z = _named(layers, choice.z) or paths.first(guesses_of_z(layers, _named(layers, choice.local)))
    head = None if choice.z or reads or choice.read != "auto" else head_of(layers, z, paths)
    z = head or z
    local = _named(layers, choice.local) or paths.first(guesses_of_local(layers, z), z)
    for run, what in ((local, "local"), (z, "z")):
        if run is None:
            raise no_guess(layers, paths, what)
    assert local is not None and z is not None
    tokens = not _is_one(layers, z) and layers.layouts[id(z)].kind in (TOKENS, SEQUENCE)
    if not (choice.z or head) and (tokens or _is_one(layers, z)):
        warn_of_part(layers, paths, z)
    read = choice.read
    if read == "auto" and not choice.z and not _is_one(layers, z):
        read = "auto" if tokens else "pool"
    names = [layers.names[id(run.module)] for run in (local, z)]
    names[1] += ENTRY if head else ""
    return replace(choice, local=choice.local or names[0], z=choice.z or names[1], read=read)


def warn_of_part(layers: Inspection, paths: Paths, z: Call) -> None:
    """A warning where the output depends on the picture past the layer that is taken for z."""
    if (share := paths.past(z)) > PAST:
        log.warning(
            "%.0f %% of what the picture changes in the network's output goes past the layer '%s', which is taken for "
            "z: it is one part of several that are put together; name one that holds all, z=..., or what goes into "
            "one, z=NAME.input",
            *(100 * min(share, 1.0), layers.names[id(z.module)]),
        )


def _named(layers: Inspection, name: str) -> Call | None:
    return layers.run_of(layers.name_of(name)) if name else None


def guesses_of_local(layers: Inspection, z: Call | None) -> list[Call]:
    """The runs whose places may be explained, the likeliest first.

    Of convolutional networks the end of the stage whose resolution is nearest 21 places a side; of transformers the
    block at the end of the first third; of a sequence what goes into the first block, or what is first embedded.
    """
    before = layers.order.index(z) if z else len(layers.order)
    blocks = [run for run in layers.blocks() if layers.order.index(run) < before]
    sequences = [run for run in _candidates(layers, before) if layers.layouts[id(run)].grid[0] == 1]
    if sequences and layers.size[0] == 1:
        start = layers.order.index(next(blocks[0].finished())) if blocks else 0
        below = [run for run in sequences if layers.order.index(run) < start]
        return [*reversed(below), *sequences]
    third = max(0, len(blocks) // 3 - 1)
    first = [*blocks[third:], *reversed(blocks[:third])]

    def likelier(runs: list[Call]) -> list[Call]:
        """Those first whose resolution is nearer."""
        return sorted(runs, key=lambda run: abs(math.log(_side(layers, run) / SIDE)))  # of as near the earlier

    maps = _candidates(layers, before)
    ends = [run for run in map(layers.run_of, layers.readout_layers()) if run in maps]
    likely = [*first, *likelier(ends)]
    few = [run for run in maps if _side(layers, run) <= MOST_PLACES and not isinstance(run.module, NOTHING)]
    composite, single = ([run for run in few if bool(run.children) is inner] for inner in (True, False))
    return list(dict.fromkeys([*likely[: TRIES // 2], *likelier(composite), *likelier(single), *likely]))


def guesses_of_z(layers: Inspection, local: Call | None) -> list[Call]:
    """The runs that may give the representation, after the local one, the likeliest first.

    The last [K, D] or [K, D, 1, 1] before the classifier; else the last tokens (behind the blocks the last norm), the
    class token or mean of which is read, whether or not they are places still; else the map with the fewest places.
    """
    learned = (place for place, run in enumerate(layers.order) if next(run.module.parameters(), None) is not None)
    after = layers.order.index(local) + 1 if local else next(learned, 0)  # what scales the input is nothing known
    end = _head_over_places(layers)
    before = layers.order.index(end) if end else -2
    candidates = [run for run in layers.order[after:before] if layers.usable(run) and id(run.module) in layers.names]
    candidates = [run for run in candidates if id(run) not in layers.blind]
    maps = [run for run in candidates if id(run) in layers.layouts and _side(layers, run) > 1]
    tokens = [run for run in maps if layers.layouts[id(run)].kind in (TOKENS, SEQUENCE)]
    tokens = [run for run in tokens if not isinstance(run.module, (nn.Linear, *NOTHING))]
    loose = _loose(layers, candidates, tokens)
    last = max((layers.order.index(run) for run in (*maps, *loose) if not run.children), default=0)
    pooled = _before_classifier([run for run in candidates if _pooled(layers, run) and layers.order.index(run) > last])
    made = [run for run in pooled if not isinstance(run.module, NOTHING)]
    blocks = layers.blocks()
    deepest = layers.order.index(blocks[-1]) if blocks else 0
    norms = [run for run in tokens if not run.children and layers.order.index(run) > deepest > 0]
    lowest = sorted(maps, key=lambda run: (_side(layers, run), -layers.order.index(run)))
    blocks = [run for run in blocks if run in candidates]
    groups = (*map(reversed, (made, loose, norms, tokens, pooled, blocks)), lowest)
    return list(dict.fromkeys(chain.from_iterable(groups)))


def head_of(layers: Inspection, z: Call | None, paths: Paths) -> Call | None:
    """The linear layer with which the network ends, where what goes into it is the representation itself.

    So it is taken where no layer gives that: where the network itself pools a map, takes the last word of a row, or
    puts together what several layers give.
    """
    layout = layers.layouts.get(id(z)) if z else None
    if z and _is_one(layers, z) and paths.past(z) <= PAST:
        return None  # else it is one part of several that are put together
    leaves = [run for run in layers.order if not run.children and not isinstance(run.module, (*NOTHING, *LINKS))]
    last = leaves[-1] if leaves else None
    if last is None or not isinstance(last.module, nn.Linear) or not layers.usable(last):
        return None
    wide = z is not None and (z.output or ())[-1:] != (last.input or ())[-1:]  # as of a class token beside a mean
    if z and layout and layout.kind == TOKENS and not (wide or _learned_between(layers, z, last)):
        return None  # else they are others by then, as where most are dropped
    whole = len(last.input or ()) == len(last.output or ()) == 2 and (last.input or ())[0] == layers.count
    return last if whole and id(last.module) in layers.names and paths.past(last) <= PAST else None


def _head_over_places(layers: Inspection) -> Call | None:
    """The 1 x 1 convolution that gives a map of each class, where the network ends with these maps pooled."""
    answer = layers.order[-2].output or ()  # the network's own
    # Beside leaves norms that hold their activation, as timm's, or statistics alone: what is normalised is no answer.
    learned = [run for run in layers.order if _has_own(run.module)]
    last = learned[-1] if learned else None
    if last is None or type(last.module) is not nn.Conv2d or last.module.kernel_size != (1, 1):
        return None
    pooled = answer[1:] == (last.module.out_channels, *[1] * (len(answer) - 2))
    return last if pooled and id(last) in layers.layouts and _side(layers, last) > 1 else None


def _has_own(module: nn.Module) -> bool:
    """Whether it holds weights or statistics itself, and not in modules within it."""
    return bool([*module.parameters(recurse=False), *module.buffers(recurse=False)])


def _learned_between(layers: Inspection, z: Call, last: Call) -> bool:
    """Whether layers with weights run between the two, beside those that hold the first."""
    between = layers.order[layers.order.index(z) + 1 : layers.order.index(last)]
    return any(z not in run.finished() and next(run.module.parameters(), None) is not None for run in between)


def _before_classifier(pooled: list[Call]) -> list[Call]:
    """Those before the linear layer, or the equally large ones, with which the network ends, if it ends so.

    A module of one's own with a matrix (cosines to the classes' weights) is as one, and what scales logits no layer.
    """
    leaves = [run for run in pooled if not run.children and not isinstance(run.module, (*NOTHING, *LINKS))]
    leaves = [run for run in leaves if len(run.output or ()) != 3]
    while len(leaves) > 1 and _scales(leaves[-1]) and leaves[-1].output == leaves[-2].output and _is_head(leaves[-2]):
        leaves.pop()
    if not leaves or not _is_head(leaves[-1]):
        return pooled
    size = (leaves[-1].output or ())[1]
    heads = [run for run in leaves if _is_head(run) and (run.output or ())[1] == size]
    before = pooled[: pooled.index(heads[0])]
    return before if before or isinstance(heads[0].module, (nn.Linear, nn.Conv2d)) else pooled


def _is_head(run: Call) -> bool:
    if type(run.module).__module__.startswith("torch.nn"):
        return isinstance(run.module, (nn.Linear, nn.Conv2d))
    if any(weights.ndim > 1 for weights in run.module.parameters()):
        return True
    sides = {*(run.input or ())[1:], *(run.output or ())[1:]}  # of embeddings of texts, or weights of few bits
    return any({*buffer.shape} == sides for buffer in run.module.buffers())


def _loose(layers: Inspection, candidates: list[Call], tokens: list[Call]) -> list[Call]:
    """Those behind the last tokens that give others as wide, which are no places: most are dropped, merged, or read."""
    places = max(map(layers.order.index, tokens), default=0)
    widths = {(run.output or ())[2] for run in tokens}
    behind = [run for run in candidates if layers.order.index(run) > places and id(run) not in layers.layouts]
    behind = [run for run in behind if len(run.output or ()) == 3 and (run.output or ())[1] > 1]
    wide = [run for run in behind if (run.output or ())[0] == layers.count and (run.output or ())[2] in widths]
    return [run for run in wide if not isinstance(run.module, (nn.Linear, *NOTHING))]


def _scales(run: Call) -> bool:
    """Whether it is a module of one's own without a matrix: a temperature."""
    return not type(run.module).__module__.startswith("torch.nn") and not _is_head(run)


def _candidates(layers: Inspection, before: int) -> list[Call]:
    """Runs that give maps, before the representation."""
    runs = [run for run in layers.order[:before] if id(run) in layers.layouts and _side(layers, run) > 1]
    runs = [run for run in runs if layers.usable(run) and id(run.module) in layers.names]
    return [run for run in runs if id(run) not in layers.blind]


def _side(layers: Inspection, run: Call) -> float:
    """Places a side, on average; all places of a sequence."""
    rows, columns = layers.layouts[id(run)].grid
    return float(columns) if rows == 1 else math.sqrt(rows * columns)


def _is_one(layers: Inspection, run: Call) -> bool:
    """Whether what it gives has no places, or is not known to."""
    layout = layers.layouts.get(id(run))
    return layout is None or layout.grid == (1, 1)


def _pooled(layers: Inspection, run: Call) -> bool:
    shape = run.output or ()
    if shape[:1] != (layers.count,):
        return False
    one = len(shape) == 2 or (len(shape) == 3 and shape[1] == 1)  # of one query that attends
    return shape[2:] == (1, 1) or (one and id(run) not in layers.layouts)
