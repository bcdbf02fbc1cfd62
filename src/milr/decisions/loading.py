"""Batches of a fit from what people have: a DataLoader, or anything that gives (inputs, targets) again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from milr.decisions.batch_sources import DrawnBatches, KeptBatches, can_be_drawn, in_batches
from milr.decisions.comparisons import pairs, prototypes
from milr.decisions.decision_kinds import classify, multilabel, numbers, regress
from milr.decisions.decisions import Batch, Decision
from milr.decisions.inputs import described, named_in, require_one_argument
from milr.default_device import on_the_users
from milr.errors import MilrError

TARGETS = ("labels", "label", "targets", "target")  # names of them in a dict
DECISIONS: Mapping[str, Callable[[Any], Decision]] = {
    "classes": classify,
    "prototypes": prototypes,
    "multilabel": multilabel,
    "regression": regress,
    "pairs": pairs,
}
COMPARED = ("prototypes", "pairs")  # whose batches are a few classes with several images of each


def fit_batches(
    loader: Iterable[Any], decision: str | Callable[[Any], Batch], seed: int, validation_share: float = 0.1
) -> tuple[Callable[[int], Batch], list[Batch]]:
    """The batch of each step, as `fit` takes it, and held-out batches, from a loader of (inputs, targets).

    A DataLoader of a data set that can be indexed, with a sampler of torch's own, is drawn from anew: batches of its
    size, by its `collate_fn` and workers, each a function of (seed, step) alone, what a data set draws from torch's
    generator too. "prototypes" and "pairs" draw a few classes with 4 images of each where the data set tells its labels
    (`targets`, `labels`, or a TensorDataset's), and hold out whole classes where there are 10 or more.
    Of everything else the first 4,096 images are kept in memory, in batches as they come.

    Args:
        loader: gives (inputs, targets), or a dict with the targets under "labels" or "targets".
        decision: classes (the network's own output is the logits), prototypes, multilabel, regression, pairs, or a
            function that makes a `Batch` of what the loader gives.
        seed: of what is drawn.
        validation_share: the share of the images that is held out, 512 at most; 0: none.

    Returns:
        A function of the step, counted from 1, and the held-out batches.

    Raises:
        MilrError: for a decision that there is not, a loader that gives nothing or no targets, an impossible share.
    """
    decision = checked_kind(decision)
    if not 0 <= validation_share < 1:
        raise MilrError(f"validation_share={validation_share}: from 0 to below 1")
    if not isinstance(loader, Iterable | Dataset) or isinstance(loader, Tensor | str):
        raise MilrError(f"a fit takes a DataLoader or a list of (inputs, targets), not {described(loader)}")
    loader = in_batches(loader)
    compared = isinstance(decision, str) and decision in COMPARED
    source = DrawnBatches(loader, seed, compared) if can_be_drawn(loader) else KeptBatches(loader, seed)
    held_out = list(source.held_out(validation_share))
    make = decision if callable(decision) else maker(decision, held_out)
    return (lambda step: make(source(step))), [make(item) for item in held_out]


def checked_kind(decision: Any) -> str | Callable[[Any], Batch]:
    """The decision's name, or the function that makes a batch. MilrError for anything else.

    `milr.classify` and its like stand for their names, and "labels", as the command line calls it, for "multilabel".
    """
    named = next((name for name, kind in DECISIONS.items() if decision is kind or decision == name), None)
    if named or decision == "labels":
        return named or "multilabel"
    if not callable(decision) or isinstance(decision, nn.Module):
        given = described(decision)
        raise MilrError(
            f"decision={given}: choose among {', '.join(DECISIONS)}, or give a function of what the loader gives, "
            "lambda item: milr.Batch(images, decide)"
        )
    require_one_argument(decision, "decision is called with what the loader gives alone, and makes a milr.Batch of it")
    return on_the_users()(decision)


def maker(decision: str, held_out: Sequence[Any]) -> Callable[[Any], Batch]:
    """What makes a batch of an item by the decision of this name."""
    kind = DECISIONS[decision]
    if decision == "regression" and held_out:  # one scale for all batches
        targets = torch.cat([numbers(parts_of(item)[1], "the targets of regression") for item in held_out])
        spread = targets.std(0, correction=0)
        kind = partial(regress, spread=spread)
    return partial(batch_of, kind)


def batch_of(kind: Callable[[Any], Decision], item: Any) -> Batch:
    """The batch of an item of the loader, with this kind of decision about its targets."""
    inputs, targets = parts_of(item)
    return Batch(inputs, kind(targets))


def parts_of(item: Any) -> tuple[Any, Any]:
    """Inputs and targets of what a loader gives. MilrError where there is no telling."""
    if isinstance(item, Tensor):
        raise MilrError(
            f"the loader gives {described(item)} without targets: of images and labels make "
            "torch.utils.data.TensorDataset(images, labels)"
        )
    item = named_in(item)
    if isinstance(item, Mapping):
        names = [name for name in TARGETS if name in item]
        if len(names) == 1:
            rest = {name: value for name, value in item.items() if name != names[0]}
            return (next(iter(rest.values())) if len(rest) == 1 else rest), item[names[0]]
    elif isinstance(item, Sequence) and len(item) == 2:
        inputs, targets = item
        names = [name for name in TARGETS if name in targets] if isinstance(targets, Mapping) else []
        return inputs, targets[names[0]] if len(names) == 1 else targets
    raise MilrError(
        f"the loader gives {described(item)}: for this decision it is a pair (inputs, targets), or a dict with "
        f"one of {', '.join(TARGETS)}; of anything else make a batch yourself, such as decision=lambda item: "
        "milr.Batch(item[0], milr.classify(item[1]))"
    )
