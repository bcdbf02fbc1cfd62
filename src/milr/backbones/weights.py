"""Which of a file's tensors are the weights of a network: found under the names that training frameworks give them.

The weights are taken only where there is no doubt: all of the network's tensors are there under one prefix, nothing
beside them could belong to its body, and no other tensors in the file fit as well.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from milr.errors import MilrError

log = logging.getLogger(__name__)

WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")  # that PyTorch puts within names
HEADS = ("fc", "classifier", "head", "heads", "linear", "last_linear", "logits", "projector", "predictor", "prototypes")
COUNTER = "num_batches_tracked"  # of a BatchNorm; nothing is computed from it, and old versions of torch saved none
BEYOND = 1e15  # what no network's weight reaches, and most changes of the first bits of one do
MANY = 1000  # weights that are zero by no chance; fewer are a token, or a position's
KINDS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class Part:
    """Those tensors of a file whose names are a prefix and the name of a tensor of the network."""

    place: str  # the keys that lead to the dictionary, "" for the file's own
    prefix: str
    tensors: dict[str, Tensor]  # under the network's names
    unknown: tuple[str, ...]  # under the prefix too, neither the network's nor a head's
    left_out: tuple[str, ...]  # the rest of the dictionary, with full names

    def __str__(self) -> str:
        words = (self.place and f"[{self.place}]", self.prefix and f"'{self.prefix}'")
        return " ".join(filter(None, words)) or "no prefix"


def choose_weights(
    wanted: Mapping[str, Tensor], content: Any, name: str, source: str, heads: Sequence[str] = ()
) -> dict[str, Tensor]:
    """The tensors of `content` (what a file holds) for a network whose state_dict is `wanted`, in its precision.

    name, source: of the network and of the file, as messages call them. heads: modules beside the usual HEADS whose
    weights are no part of it. Errors: MilrError where no tensors fit, or those of several networks do.
    """
    parts = list(parts_of(content, wanted, heads=heads))
    fitting = distinct([part for part in parts if not problems(part, wanted)])
    if not fitting:
        raise MilrError(f"{source} does not fit {name}: {misfit(content, parts, wanted)}")
    if len(fitting) > 1:
        shown = " and ".join(map(str, fitting))
        raise MilrError(
            f"{source} holds several networks that fit {name}, under {shown}: torch.save the one that is meant in a "
            "file of its own"
        )
    part = fitting[0]
    # A counter that is missing is as in a new network.
    given = {key: value for key, value in part.tensors.items() if value.shape == wanted[key].shape}
    weights = {key: given.get(key, value).to(value.dtype) for key, value in wanted.items()}
    require_undamaged(weights, wanted, source)
    log_differences(part, source)
    return weights


def require_undamaged(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> None:
    """MilrError for weights that no training gives, a warning for such as it hardly does.

    What the new network has itself is no damage: the -inf of an attention mask, a table that begins at zero.
    """
    numbers = {key: value for key, value in weights.items() if value.is_floating_point() or value.is_complex()}
    beyond = [key for key, value in numbers.items() if not bool((value.abs() < BEYOND).all())]
    if broken := [key for key in beyond if not torch.equal(weights[key], wanted[key])]:
        raise MilrError(f"{source} has nan or inf, or numbers beyond {BEYOND:g}, in {shortened(broken)}: it is damaged")
    if negative := [key for key in weights if key.endswith("running_var") and bool((weights[key] < 0).any())]:
        raise MilrError(f"{source} has variances below 0 in {shortened(negative)}: damaged, or means in their place")
    zeros = [key for key, value in weights.items() if value.ndim > 1 and value.numel() >= MANY and not value.any()]
    if lost := [key for key in zeros if wanted[key].any()]:
        log.warning("%s: nothing but zeros in %s: were they lost?", source, shortened(lost))
    matrices = [value.flatten() for value in weights.values() if value.ndim > 1 and value.numel()]
    if matrices and all(bool((value == value[0]).all()) for value in matrices):
        raise MilrError(f"{source}: each of its weights is one number throughout: was it filled before it was saved?")


def log_differences(part: Part, source: str) -> None:
    """Log what was not as the network itself would have saved it."""
    if part.place or part.prefix:
        log.info("%s: the weights are those under %s", source, part)
    if part.left_out:
        log.info("%s: left out, as no part of the network: %s", source, shortened(part.left_out))


def parts_of(content: Any, wanted: Mapping[str, Tensor], place: str = "", heads: Sequence[str] = ()) -> Iterator[Part]:
    """Every part of a file, at any depth of its dictionaries, that has a tensor under one of the wanted names."""
    if not isinstance(content, Mapping):
        return
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    tensors = plain_names(tensors)
    starts = dict.fromkeys(prefix for name in tensors for prefix in prefixes(name, wanted))
    yield from apart([part_under(prefix, tensors, wanted, place, heads) for prefix in starts], wanted)
    for key, value in content.items():
        yield from parts_of(value, wanted, f"{place}.{key}" if place else str(key), heads)


def apart(parts: Sequence[Part], wanted: Mapping[str, Tensor]) -> list[Part]:
    """The parts of one dictionary; what is another whole network (an average beside it) is no unknown layer of one."""
    whole = [part.prefix for part in parts if not problems(replace(part, unknown=()), wanted)]
    result = []
    for part in parts:
        others = tuple(prefix for prefix in whole if prefix != part.prefix and prefix.startswith(part.prefix))
        names = [name for name in part.unknown if (part.prefix + name).startswith(others)]
        unknown = tuple(name for name in part.unknown if name not in names)
        left_out = (*part.left_out, *(part.prefix + name for name in names))
        result.append(replace(part, unknown=unknown, left_out=left_out))
    return result


def plain_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by names without what PyTorch's wrappers put between; as they are, where that is ambiguous."""
    plain = {".".join(word for word in key.split(".") if word not in WRAPPERS): each for key, each in tensors.items()}
    return plain if len(plain) == len(tensors) else tensors


def prefixes(key: str, wanted: Mapping[str, Tensor]) -> list[str]:
    """What stands before a wanted name that the key ends with."""
    words = key.split(".")
    starts = [len(".".join(words[:number])) + bool(number) for number in range(len(words))]
    return [key[:start] for start in starts if key[start:] in wanted]


def part_under(
    prefix: str, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], place: str, heads: Sequence[str]
) -> Part:
    """The part with this prefix."""
    of_head = tuple(f"{head}." for head in heads)
    children = {key.partition(".")[0] for key in wanted}
    matching, unknown, left_out = {}, [], []
    for key, value in tensors.items():
        name = key[len(prefix) :] if key.startswith(prefix) else None
        first = name.partition(".")[0] if name else ""
        if name in wanted:
            matching[str(name)] = value
        elif name is None or (first in HEADS and first not in children) or name.startswith(of_head):
            left_out.append(key)
        else:
            unknown.append(name)
    return Part(place, prefix, matching, tuple(unknown), tuple(left_out))


def problems(part: Part, wanted: Mapping[str, Tensor]) -> list[str]:
    """Why a part is not the weights of the network; nothing if it is."""
    needed = {key for key in wanted if not key.endswith(COUNTER)}
    there = needed & part.tensors.keys()
    kinds = {
        "missing": sorted(needed - there),
        "unknown": sorted(part.unknown),
        "of another shape": sorted(key for key in there if part.tensors[key].shape != wanted[key].shape),
        "of another kind of number": sorted(key for key in there if not is_plain(part.tensors[key], wanted[key])),
    }
    return [f"{len(keys)} {what} ({', '.join(keys[:3])})" for what, keys in kinds.items() if keys]


def is_plain(given: Tensor, wanted: Tensor) -> bool:
    """Whether a tensor's values are numbers as they stand: not quantised, sparse or without a content."""
    kinds = KINDS if wanted.is_floating_point() else (wanted.dtype,)
    return given.dtype in kinds and given.layout == torch.strided and not given.is_meta


def distinct(parts: Sequence[Part]) -> list[Part]:
    """The parts without those that only repeat one before, as some frameworks save a network twice."""
    return [
        part
        for number, part in enumerate(parts)
        if not any(same_weights(part.tensors, other.tensors) for other in parts[:number])
    ]


def same_weights(tensors: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    """Whether two parts hold the same weights."""
    return all(
        key in others and value.dtype == others[key].dtype and torch.equal(value, others[key])
        for key, value in tensors.items()
        if not key.endswith(COUNTER)
    )


def misfit(content: Any, parts: Sequence[Part], wanted: Mapping[str, Tensor]) -> str:
    """Why none of the parts is the network: of the nearest one, what is wrong; without any, what there is."""
    if parts:
        nearest = max(parts, key=lambda part: len(part.tensors))
        where = f" (under {nearest})" if nearest.place or nearest.prefix else ""
        return f"{'; '.join(problems(nearest, wanted))}{where}"
    names = [str(key) for key in tensor_names(content)]
    if names:
        return (
            f"none of its tensors ({shortened(names)}) has the name of one of the network's ({next(iter(wanted))}, ...)"
        )
    keys = f" (its keys: {shortened(list(map(str, content)))})" if isinstance(content, Mapping) and content else ""
    return f"it holds no plain dictionary of tensors, a network's state_dict{keys}"


def tensor_names(content: Any) -> Iterator[str]:
    """The names of all tensors in dictionaries, at any depth."""
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, Tensor):
            yield key
        yield from tensor_names(value)


def shortened(names: Sequence[str], longest: int = 3) -> str:
    """The first names, and how many there are."""
    return ", ".join(names[:longest]) + (f" and {len(names) - longest} more" if len(names) > longest else "")
