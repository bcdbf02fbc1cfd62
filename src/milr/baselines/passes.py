"""A bar that knows how long an evaluation takes: it counts passes of the network over an episode, map by map."""

from __future__ import annotations

from collections.abc import Sequence

from milr.bars import bar
from milr.baselines.methods import METHODS


class Passes:
    """Of the maps with these names, and again of those that depend on the fit for each of the `further` fits.

    `measuring`: the passes of each image with which one map is measured.
    """

    def __init__(self, names: Sequence[str], further: int, measuring: int, episodes: int, done: int = 0) -> None:
        self.each = {name: METHODS[name].passes + measuring for name in names}
        of_fits = sum(passes for name, passes in self.each.items() if METHODS[name].fitted)
        self.episode = sum(self.each.values()) + further * of_fits
        total, before = episodes * self.episode, done * self.episode
        self.bar = bar(desc="evaluate", total=total, initial=before, unit="pass", smoothing=0)

    def __enter__(self) -> Passes:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def update(self, name: str) -> None:
        """A map was made and measured."""
        self.bar.set_description_str(f"episode {self.bar.n // self.episode + 1}, {name}", refresh=False)
        self.bar.update(self.each[name])
