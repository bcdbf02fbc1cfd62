"""The words that a report uses and not everybody knows, explained once: the page's last section, and links to it."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

WORDS = {  # word -> what it means; in the order of the alphabet
    "accuracy": "The share of decisions that are right.",
    "area": "Between the keep and the remove curve: how much more of the decision is left, on average over the shares, "
    "with a map's highest places than without them. Higher is better; what random places get stands beside it.",
    "cap": "The most bits that a mean can reach: log2 of the number of pictures among which each is identified. For a "
    "map these are itself and a bank of training pictures; for the estimate in the fit's log they are the 64 held-out "
    "pictures of a batch, so that this cap is 6.",
    "chance": "What a map, or an answer, gets that has nothing to do with the picture.",
    "contrast": "How much higher a map ranks one group of parts than all other parts; 0: no higher.",
    "cosine": "How alike the representation is to the untouched one; 1: the same direction.",
    "coverage": "The share of pictures in which a part is among the highest fifth of a map's places.",
    "critic": "The small network that estimates the bits: it tells true pairs of a place and a representation from "
    "others. It is fitted to some pictures, and checked on held-out ones.",
    "defining": "The parts by which a species is drawn, and in which it differs from the others.",
    "disagreement": "1 minus the rank correlation of the total and the decision map. 0: the same order of places; 1: "
    "unrelated; 2: the reverse.",
    "episode": "One small task: a few classes, some support pictures of each, and queries that are to be given one of "
    "these classes.",
    "interval": "A range made so that in 95 of 100 repetitions, with other such pictures, it holds the mean over all.",
    "keep": "Only a map's highest places are left, the rest is filled. The decision should stay.",
    "lift": "The share of mass over the region's share of the picture; 1: no denser there than elsewhere.",
    "mask": "What was fitted to let as little of each place pass as it can while the network still decides well, by "
    "the true answers about the fit's pictures.",
    "mass": "The share of a map's positive bits that lies in the region.",
    "percentile": "The share of a map's places that are lower than the marked one. 0.5: chance; 1: it is the highest.",
    "pointing": "The share of pictures in which a map's highest place lies in the region.",
    "prototype": "The mean of a class's support pictures in the representation. A query gets the class of the nearest.",
    "query": "A picture that is to be given a class.",
    "rank accuracy": "Of as many highest places of a map as the region has, the share that lies in the region.",
    "rank correlation": "How alike two maps order the places, whatever their bits. 1: the same order; 0: unrelated.",
    "remove": "A map's highest places are filled, the rest is left. The decision should be lost.",
    "saturation": "The mean total as a share of its cap. The nearer to 1, the more bits may be hidden above the cap.",
    "support": "A picture whose class is given: what the prototypes are made of.",
    "through the mask": "Of the picture, and of each that it is decided with, there is only what its mask lets pass; "
    "noise fills the rest. Under a picture stands the answer of most draws of that noise: where it is another than the "
    "untouched network's, the maps explain another decision than that one.",
    "untouched": "The network as it is, without a mask, on the same pictures.",
    "up to a third": "Only pictures in which the region fills a third or less: where it fills the picture, every map "
    "is on it.",
    "validation pictures": "Those by which the fit chose its best step: of neither the training nor the evaluation.",
}
LONGEST_FIRST = sorted(WORDS, key=len, reverse=True)
FOUND = re.compile(rf"\b({'|'.join(LONGEST_FIRST)})s?\b(?!\.\w)", re.IGNORECASE)  # critic.steps is no such word


def anchor(word: str) -> str:
    """The id of a word's explanation."""
    return f"word-{word.replace(' ', '-')}"


def linked(text: str) -> Markup:
    """A text with a link at the first place of each word that is explained."""
    seen = set[str]()

    def link(match: re.Match[str]) -> str:
        """The word as a link, where it stands for the first time."""
        word = match[1].lower()
        if word in seen:
            return match[0]
        seen.add(word)
        return f'<a class="word" href="#{anchor(word)}">{match[0]}</a>'

    return Markup(FOUND.sub(link, str(escape(text))))
