"""Several critics read as one: the mean of their scores overfits less, and changes less from seed to seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from milr.information.critic import Critic


class Critics(nn.Module):
    """n critics, each fitted by its own bound; f is the mean of their scores (deep ensembles, Lakshminarayanan 2017).

    The mean of inner products is one inner product, of what all project, joined [.., n p]: whatever takes a critic's
    projections takes these.

    Args:
        members: critics of one layer pair, each with first weights of its own.
    """

    def __init__(self, members: Sequence[Critic]) -> None:
        super().__init__()
        self.each = nn.ModuleList(members)

    @property
    def members(self) -> list[Critic]:
        """The critics."""
        return [member for member in self.each if isinstance(member, Critic)]

    def project_local(self, local: Tensor) -> Tensor:
        """x [K, C, H, W] -> u [K, N, n p]."""
        return self.project_locations(local.flatten(2).transpose(1, 2))

    def project_locations(self, locations: Tensor, places: Tensor | None = None) -> Tensor:
        """Locations [K, S, C] at `places` [S] (None: at all N in order) -> [K, S, n p]."""
        return self._mean([member.project_locations(locations, places) for member in self.members])

    def project_standardised(self, locations: Tensor, places: Tensor | None = None) -> Tensor:
        """The same of locations that were standardised before."""
        return self._mean([member.project_standardised(locations, places) for member in self.members])

    def project_representation(self, representation: Tensor) -> Tensor:
        """z [K, D] -> v [K, n p]."""
        return torch.cat([member.project_representation(representation) for member in self.members], -1)

    def project_standardised_representation(self, representation: Tensor) -> Tensor:
        """The same of representations that were standardised before."""
        return torch.cat([member.project_standardised_representation(representation) for member in self.members], -1)

    def second_scores(self, local: Tensor, representation: Tensor) -> Tensor | None:
        """The mean s(x_i, z) [K, S] of u [K, S, n p] and v [K, n p]; None without such a score."""
        count = len(self.each)
        sides = zip((count * local).chunk(count, -1), representation.chunk(count, -1), strict=True)
        scores = [member.second_scores(u, v) for member, (u, v) in zip(self.members, sides, strict=True)]
        given = [score for score in scores if score is not None]
        return torch.stack(given).mean(0) if given else None

    @staticmethod
    def _mean(projected: list[Tensor]) -> Tensor:
        """What makes the inner product a mean: the sum of the members' over their number."""
        return torch.cat(projected, -1) / len(projected)


AnyCritic: TypeAlias = Critic | Critics


def members_of(critic: AnyCritic) -> list[Critic]:
    """Those that are fitted: one critic is its own only member."""
    return [critic] if isinstance(critic, Critic) else critic.members
