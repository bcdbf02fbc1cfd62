"""Which layers the mask reads by default: the ends of the resolutions, or blocks spread over a transformer's depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from milr.networks.trace import Call

Size = tuple[int, int]

SPREAD = 4  # blocks of a transformer that the mask reads


def readout_calls(root: Call, places: dict[int, Size], size: Size, usable: Callable[[Call], bool]) -> list[Call]:
    """The last run at each resolution, at any depth: of the layers whose features the mask reads by default.

    `places` has (H, W) of every run that gives a map, by its id; `size` is that of the images; `usable` says which runs
    a hook can tell from others of the same module. Runs in a row at one resolution are a group. One of single layers
    alone (a stem) counts only where no group has a block, and one without parameters (pooling before the classifier)
    not at all.
    """
    groups: list[list[Call]] = []
    classes = Counter(type(module) for module in {call.module for call in root.finished()})
    repeated = {kind for kind, count in classes.items() if count > 1 and not kind.__module__.startswith("torch.nn")}
    for call in _blocks(root, places, size, repeated):
        if groups and _alike(places[id(groups[-1][-1])], places[id(call)]):
            groups[-1].append(call)
        else:
            groups.append([call])
    learned = [group for group in groups if any(next(call.module.parameters(), None) is not None for call in group)]
    composite = [[call for call in group if call.children] for group in learned]
    chosen = []
    for group in composite if any(composite) else learned:
        chosen += [call for call in group if usable(call)][-1:]
    return chosen


def _blocks(call: Call, places: dict[int, Size], before: Size, repeated: set[type]) -> list[Call]:
    """The runs that give maps, a block as one.

    That is what has only the resolutions of its input and its output within; or keeps the resolution, whatever is
    within, and is of a class of which there are others (attention to keys of fewer places).
    """
    inner: list[Call] = []
    for child in call.children:
        inner += _blocks(child, places, places[id(inner[-1])] if inner else before, repeated)
    own = places.get(id(call))
    if own and all(_alike(places[id(each)], before) or _alike(places[id(each)], own) for each in inner):
        return [call]
    if own and type(call.module) in repeated and _alike(own, before):
        return [call]
    return inner


def _alike(one: Size, other: Size) -> bool:
    """Whether two resolutions differ by less than pooling makes: convolutions may take some places at the edge."""
    return max(*one, *other) < 1.5 * min(max(one), max(other))


def equal_blocks(root: Call, usable: Callable[[Call], bool]) -> list[Call]:
    """The blocks of a transformer, in their order: the most runs of one class in one run, of layers with others within.

    `usable` says which runs count. Empty where no block comes twice.
    """
    families: dict[tuple[int, type], list[Call]] = {}
    for parent in root.finished():
        for run in parent.children:
            if run.children and usable(run) and next(run.module.parameters(), None) is not None:
                families.setdefault((id(parent), type(run.module)), []).append(run)
    most = max(reversed(families.values()), key=len, default=[])  # of as many the outer ones
    return most if len(most) > 1 else []


def spread(blocks: list[Call]) -> list[Call]:
    """A few of the blocks, evenly over the depth, the last among them."""
    count = min(SPREAD, len(blocks))
    return [blocks[(number + 1) * len(blocks) // count - 1] for number in range(count)]
