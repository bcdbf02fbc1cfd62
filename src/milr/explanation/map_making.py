"""How the maps of a batch are made of its first pass and its mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from milr.explanation.maps import Maps
from milr.explanation.modules import Modules
from milr.explanation.settings import MilrSettings
from milr.information.bottleneck import capacity, noise_like, occlude
from milr.information.readings import ProjectedBank, read
from milr.information.units import bits
from milr.networks.inputs import Inputs
from milr.networks.layers import FirstPass, LayerPair

Banks = tuple[ProjectedBank, ProjectedBank]  # of untouched training images, and of what masks let pass of such
OCCLUSIONS = 4  # draws of the mask's noise that a redundant map is averaged over, and that a decision is made of


@dataclass(frozen=True)
class MaskedBatch:
    """A batch of images, what the untouched network knows of them, and their mask [K, C or 1, H, W]."""

    images: Inputs
    first: FirstPass
    mask: Tensor


@dataclass(frozen=True)
class MapMaker:
    """What makes the maps: the fitted modules on a network's layers."""

    settings: MilrSettings
    layers: LayerPair
    modules: Modules

    def maps(self, batch: MaskedBatch, banks: Banks, readings: Sequence[str]) -> Maps:
        """All maps, in bits, in the settings' reading of eq. 1 and further ones."""
        own, denominator = self.settings.infomax.map, self.settings.infomax.denominator
        # Step 1: what the mask lets pass, on several draws of its noise.
        draws = [self.occluded(batch, seed) for seed in range(self.draws)]
        # Step 2: both sides of the critic's scores, untouched and with the mask.
        pair = self._projected(batch.first.local, batch.first.representation)
        masked, bank = self._masked(batch, draws, pair, banks)
        # Step 3: total information (eq. 1, 2), what is kept of it, and the rest (eq. 9), on average over the noise.
        size, most = (len(batch.mask), *self.layers.grid), self._most_kept(batch)
        results = {}
        for reading in dict.fromkeys((own, *readings)):
            total = bits(read(reading, denominator, *pair, banks[0])).view(size)
            kept = torch.stack([read(reading, denominator, *both, bank) for both in masked]).mean(0)
            kept = bits(kept).view(size).clamp(max=most)
            results[reading] = {"total": total, "kept": kept, "redundant": total - kept}
        return Maps(
            **results.pop(own),
            decision=self._decision(batch, draws[0]),
            mask=batch.mask.mean(1),
            output=batch.first.output,
            cap=bits(banks[0].cap(own, denominator)),
            readings=results,
        )

    def decision(self, batch: MaskedBatch) -> Tensor:
        """The upper bound on I(x'_i; z) (eq. 8) in bits [K, H, W]."""
        return self._decision(batch, self.occluded(batch, 0))

    def outputs(self, batch: MaskedBatch) -> Tensor:
        """What the network gives for what the mask lets pass [draws, K, E]; the noise is each image's own."""
        generator, fill, local = torch.Generator().manual_seed(0), self.settings.mask.fill, batch.first.local
        outputs = []
        for _ in range(self.draws):
            noise = noise_like(self.modules.local, local, generator)
            occluded = occlude(local, batch.mask, fill, noise)
            outputs.append(self.layers.second_pass(occluded, batch.images).output)
        return torch.stack(outputs)

    @property
    def draws(self) -> int:
        """Of the mask's noise; zero fill has none."""
        return OCCLUSIONS if self.settings.mask.fill == "noise" else 1

    def occluded(self, batch: MaskedBatch, seed: int) -> Tensor:
        """x' [K, C, H, W], with the same noise for every image: a map must not depend on its place in the batch."""
        local, generator = batch.first.local, torch.Generator().manual_seed(seed)
        noise = noise_like(self.modules.local, local, generator, one_for_all=True)
        return occlude(local, batch.mask, self.settings.mask.fill, noise)

    def _projected(self, local: Tensor, representation: Tensor) -> tuple[Tensor, Tensor]:
        """Both sides of the critic's scores."""
        critic = self.modules.critic
        return critic.project_local(local), critic.project_representation(representation)

    def _masked(
        self, batch: MaskedBatch, draws: Sequence[Tensor], pair: tuple[Tensor, Tensor], banks: Banks
    ) -> tuple[list[tuple[Tensor, Tensor]], ProjectedBank]:
        """Both sides with the mask, for each draw of its noise, and what they are compared with."""
        critic = self.modules.critic
        if self.settings.redundancy == "occluded":  # i(x'; z), compared with what passes other images' masks
            return [(critic.project_local(occluded), pair[1]) for occluded in draws], banks[1]
        seconds = [self.layers.second_pass(occluded, batch.images).representation for occluded in draws]
        return [(pair[0], critic.project_representation(z)) for z in seconds], banks[0]  # i(x; z')

    def _most_kept(self, batch: MaskedBatch) -> Tensor | float:
        """The most bits of a place that may count as kept [K, H, W].

        With noise fill x' is x and noise, and tells no more of z than of x: its capacity bounds what the critic finds.
        """
        if self.settings.redundancy == "occluded" and self.settings.mask.fill == "noise":
            return bits(capacity(batch.mask, self.modules.local(batch.first.local)))
        return math.inf

    def _decision(self, batch: MaskedBatch, occluded: Tensor) -> Tensor:
        """The upper bound in bits, of what passes as it was drawn."""
        nats: Tensor = self.modules.bottleneck.nats(batch.mask, batch.first.local, occluded)
        return bits(nats)
