"""The families of drawn birds: the species of each, what tells them apart, and any bird of them without its parts."""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image

from milr.data.drawing import Drawing, draw_bird
from milr.data.records import FIRST_PART, FIRST_THING, Look, Record, Split
from milr.data.shapes import PALETTE
from milr.data.species import BILLS, PARTS, TAILS, Species
from milr.data.split import split_classes
from milr.errors import MilrError

Looks = tuple[Species, ...]  # of one class: one, or several in turn

# The variants of each part in the family five: colours, and shapes of bill and tail.
HEADS = (("red", "short"), ("yellow", "long"), ("blue", "hooked"), ("white", "long"), ("black", "short"))
EYES = ("red", "yellow", "blue")
BARS = ("red", "yellow", "green", "blue", "white", "black")
COLOURED_TAILS = tuple(itertools.product(("red", "yellow", "blue"), TAILS))
FEET = ("orange", "blue", "white", "black")
BIT = {"head": ("red", "blue"), "wing bar": ("yellow", "black")}  # the values 0 and 1 of a planted family's two parts
PLANTED = {  # of each class its looks, as bits of head and wing bar
    "redundant": (((0, 0),), ((1, 1),)),  # the same bit twice: either part suffices
    "separate": (((0, 0),), ((0, 1),), ((1, 0),), ((1, 1),)),  # a bit each: both are needed
    "joint": (((0, 0), (1, 1)), ((0, 1), (1, 0))),  # only both together tell: each alone says nothing
}


@dataclass(frozen=True)
class DrawnBirds:
    """All birds of a family: each picture is a function of these numbers, the class's id and its own number alone."""

    family: str
    species: int  # classes; of the planted families as many as they have
    picture_size: int
    seed: int
    missing: float = 0.0  # share of the training classes' pictures that lack parts

    @property
    def parts(self) -> tuple[str, ...]:
        """What can be left out of every bird."""
        return PARTS

    @cached_property
    def classes(self) -> Sequence[Looks]:
        """The looks of each class, the first having the id 1."""
        if self.family in PLANTED:
            return 3 * planted(self.family)  # the same for training, validation and the test
        species = two_parts(self.species, self.seed) if self.family == "two" else five_parts(self.species, self.seed)
        return [(one,) for one in species]

    @property
    def split(self) -> Split | None:
        """A planted family's own: all its classes are in each part, under other ids and in other pictures."""
        if self.family not in PLANTED:
            return None
        count = len(self.classes) // 3
        return Split(*(tuple(range(1 + count * part, 1 + count * (part + 1))) for part in range(3)))

    def species_of(self, class_id: int, number: int) -> Species:
        """Of one picture."""
        looks = self.classes[class_id - 1]
        return looks[number % len(looks)]

    def draw(self, class_id: int, number: int, without: Collection[int] = ()) -> Drawing:
        """Picture `number` of a class, from 1, without what these own."""
        generator = random.Random(f"{self.seed}:{class_id}:{number}")
        return draw_bird(self.species_of(class_id, number), generator, self.picture_size, without)

    def draw_stored(self, class_id: int, number: int) -> Drawing:
        """The same as the data set holds it: a training class's may lack one to all of its parts."""
        split = self.split or split_classes(range(1, len(self.classes) + 1))
        generator = random.Random(f"missing:{self.seed}:{class_id}:{number}")
        if class_id not in split.train or generator.random() >= self.missing:
            return self.draw(class_id, number)
        owners = range(FIRST_PART, FIRST_PART + len(PARTS))
        return self.draw(class_id, number, generator.sample(owners, generator.randint(1, len(PARTS))))

    def covers(self, record: Record) -> bool:
        """Every picture can be drawn again."""
        return True

    def looks(self, class_id: int) -> tuple[Look, ...]:
        """How its birds may look."""
        return tuple(species.look() for species in self.classes[class_id - 1])

    def look_of(self, record: Record) -> Look:
        """How the bird of this picture looks."""
        return self.species_of(*place_of(record)).look()

    def things(self, record: Record) -> int:
        """Branch, twigs and leaves."""
        return self.draw(*place_of(record)).things

    def owners(self, record: Record) -> npt.NDArray[np.uint8]:
        """Who owns each pixel [size, size] of the whole bird's picture."""
        return self.draw(*place_of(record)).owners

    def without(self, record: Record, parts: Collection[str] = (), thing: int | None = None) -> Image.Image:
        """The whole bird without these parts, the picture without this thing; nothing else changes."""
        owners = {FIRST_PART + PARTS.index(part) for part in parts}
        return self.draw(*place_of(record), owners | ({FIRST_THING + thing} if thing is not None else set())).picture


def place_of(record: Record) -> tuple[int, int]:
    """The class id and the number of a drawn picture."""
    return record.class_id, int(record.path.stem.rpartition("_")[2])


def two_parts(count: int, seed: int) -> list[Species]:
    """`count` species, any two of which differ in at least two of head, bill, bill's shape and wing bar.

    So no single part tells all of them apart. MilrError if there are not that many.
    """
    every = (Species(*traits) for traits in itertools.product(PALETTE, PALETTE, BILLS, PALETTE))
    return apart([(species, species.traits()) for species in every], count, seed)


def five_parts(count: int, seed: int) -> list[Species]:
    """`count` species, any two of which differ in at least two of their five parts. MilrError as above."""
    every = [
        Species(head, "orange", bill, bar, eye, tail, tail_shape, feet)
        for (head, bill), eye, bar, (tail, tail_shape), feet in itertools.product(
            HEADS, EYES, BARS, COLOURED_TAILS, FEET
        )
    ]
    return apart([(species, species.look()) for species in every], count, seed)


def apart(possible: list[tuple[Species, Look]], count: int, seed: int) -> list[Species]:
    """`count` of them in a drawn order, any two of which differ in at least two traits."""
    random.Random(f"species:{seed}").shuffle(possible)
    chosen: list[tuple[Species, Look]] = []
    for species, traits in possible:
        if len(chosen) == count:
            break
        if all(sum(a != b for a, b in zip(traits, other, strict=True)) >= 2 for _, other in chosen):
            chosen.append((species, traits))
    if len(chosen) < count:
        raise MilrError(f"dataset.species={count}: there are only {len(chosen)} species that differ in two parts each")
    return [species for species, _ in chosen]


def planted(family: str) -> list[Looks]:
    """The classes of a planted family."""
    heads, bars = BIT["head"], BIT["wing bar"]
    return [
        tuple(Species(heads[head], "orange", "short", bars[bar]) for head, bar in looks) for looks in PLANTED[family]
    ]
