"""What becomes of the decision about a picture when parts of the bird, or things of the background, are not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import max_pool2d

from milr.baselines.attribution import Untouched
from milr.data.augmentation import IMAGENET, Normalisation, to_input
from milr.data.pictures import Pictures
from milr.data.records import FIRST_PART, FIRST_THING, Interventions, Look, Record
from milr.decisions.decisions import Batch
from milr.evaluation.regions import framing_of
from milr.explanation.milr import MILR
from milr.networks.layers import frozen

AT_ONCE = 64  # pictures of a pass
GROWN = 2 / 256  # of the picture's side: how far an area is grown, the 2 pixels of Hesse et al. at their size


@dataclass(frozen=True)
class Change:
    """A picture of a batch without parts, or without a thing of the background."""

    item: int  # of the decision's items, which has one image
    parts: frozenset[int] = frozenset()
    thing: int | None = None


@dataclass(frozen=True)
class Subject:
    """What is asked of: pictures of a data set that can be had without their parts, and the network's decisions."""

    explainer: MILR
    interventions: Interventions
    crop: str
    normalisation: Normalisation = IMAGENET

    def picture(self, record: Record, size: int, parts: Sequence[int] = (), thing: int | None = None) -> Tensor:
        """Framed as all the others: uint8 [3, size, size]."""
        names = [self.interventions.parts[part] for part in parts]
        changed = framing_of(record, self.crop, size).picture(self.interventions.without(record, names, thing))
        return torch.from_numpy(np.array(changed.convert("RGB")).transpose(2, 0, 1))

    def whole(self, pictures: Pictures) -> Pictures:
        """The same pictures with all their parts, where the data set holds some without."""
        size = pictures.images.shape[-1]
        return replace(pictures, images=torch.stack([self.picture(each, size) for each in pictures.records]))

    def areas(self, record: Record, size: int) -> Tensor:
        """What each part, then each thing, owns of the framed picture, grown a little: bool [P + T, size, size]."""
        owners = Image.fromarray(self.interventions.owners(record))
        labels = torch.from_numpy(np.array(framing_of(record, self.crop, size).labels(owners)))
        names = [FIRST_PART + part for part in range(len(self.interventions.parts))]
        names += [FIRST_THING + thing for thing in range(self.interventions.things(record))]
        own = torch.stack([labels == name for name in names])
        reach = max(1, round(GROWN * size))
        return max_pool2d(own.float()[:, None], 2 * reach + 1, stride=1, padding=reach)[:, 0] > 0

    @torch.no_grad()
    def decided(self, batch: Batch, records: Sequence[Record], changes: Sequence[Change]) -> Tensor:
        """The logits of each change's item if its image alone is changed, and no other: [n, classes]."""
        layers, size = self.explainer.layers, batch.images.shape[-1]
        with frozen(layers.network, *batch.modules):
            untouched = Untouched.of(layers.first_pass(batch.images).output, batch.decided)
            owners = batch.decided(untouched.output).owners(len(records))
            result = []
            for start in range(0, len(changes), AT_ONCE):
                some = changes[start : start + AT_ONCE]
                drawn = [self.picture(records[owners[c.item]], size, sorted(c.parts), c.thing) for c in some]
                images = to_input(torch.stack(drawn), batch.images.device, self.normalisation)
                items, rows = (
                    torch.tensor(each) for each in zip(*((c.item, owners[c.item]) for c in some), strict=True)
                )
                outputs = layers.first_pass(images).output
                logits = untouched.logits(outputs, rows.to(outputs.device))
                result.append(logits[torch.arange(len(some)), items].float().cpu())
        return torch.cat(result)


@dataclass(frozen=True)
class Removed:
    """One picture, and the decision about it without each set of its parts and each thing of its background."""

    file: str
    areas: Tensor  # bool [P + T, S, S]
    logits: Tensor  # [2 ** P, classes]; the set number n lacks part p where bit p of n is 1
    things: Tensor  # [T, classes]
    explained: int  # the class that the untouched network gives
    right: bool
    look: Look
    sufficient: tuple[frozenset[int], ...]  # sets of parts, each enough to tell it from the decision's other classes

    def drops(self) -> Tensor:
        """How far the explained class's logit falls without each part, then without each thing [P + T]."""
        singles = [1 << part for part in range(len(self.look))]
        scores = torch.cat([self.logits[singles], self.things])[:, self.explained]
        return self.logits[0, self.explained] - scores

    def log_probability_drop(self, parts: Sequence[int]) -> float:
        """How many nats the log probability of the explained class loses without these parts."""
        sets = self.logits[[0, sum(1 << part for part in parts)]].double().log_softmax(1)[:, self.explained]
        return float(sets[0] - sets[1])


def removed(subject: Subject, batch: Batch, records: Sequence[Record], classes: Sequence[int]) -> list[Removed]:
    """Each picture that a batch decides about. classes: the class id of each answer."""
    interventions, size = subject.interventions, batch.images.shape[-1]
    with torch.no_grad(), frozen(subject.explainer.layers.network, *batch.modules):
        decided = batch.decided(subject.explainer.layers.first_pass(batch.images).output)
    owners, explained = decided.owners(len(records)), decided.explained().tolist()
    own = [records[owner] for owner in owners]
    every = range(1 << len(interventions.parts))
    changes = [Change(item, members(number)) for item in range(len(own)) for number in every]
    counts = [interventions.things(record) for record in own]
    changes += [Change(item, thing=thing) for item, count in enumerate(counts) for thing in range(count)]
    logits = subject.decided(batch, records, changes)
    sets, rest = logits[: len(own) * len(every)].view(len(own), len(every), -1), logits[len(own) * len(every) :]
    result = []
    for item, (record, things) in enumerate(zip(own, rest.split(counts), strict=True)):
        look = interventions.look_of(record)
        others = [
            other for class_id in classes if class_id != record.class_id for other in interventions.looks(class_id)
        ]
        right = classes[explained[item]] == record.class_id
        areas, enough = subject.areas(record, size), sufficient(look, others)
        result.append(Removed(str(record.path), areas, sets[item], things, explained[item], right, look, enough))
    return result


def members(number: int) -> frozenset[int]:
    """The places of a number's bits that are 1."""
    return frozenset(place for place in range(number.bit_length()) if number >> place & 1)


def sufficient(look: Look, others: Sequence[Look]) -> tuple[frozenset[int], ...]:
    """The smallest sets of parts that no other look has alike: none of them holds another one."""
    smallest: list[frozenset[int]] = []
    telling = [part for part, fixed in enumerate(look) if fixed is not None]
    for size in range(1, len(telling) + 1):
        for parts in map(frozenset, combinations(telling, size)):
            tells = all(any(other[part] != look[part] for part in parts) for other in others)
            if tells and not any(smaller <= parts for smaller in smallest):
                smallest.append(parts)
    return tuple(smallest)
