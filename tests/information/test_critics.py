"""Several critics read as one."""

from __future__ import annotations

import torch
from gaussian import correlation_of, gaussian_features, plain_critic

from milr.explanation.critic_fitting import CriticTask, fit_critic, held_out_nats
from milr.explanation.settings import CriticSettings
from milr.information.critic import Critic, CriticShape
from milr.information.critics import Critics, members_of
from milr.information.statistics import Standardise


def critics(count: int, second: bool = False) -> Critics:
    def scale(size: int) -> Standardise:
        generator = torch.Generator().manual_seed(size)
        return Standardise(torch.randn(size, generator=generator), torch.rand(size, generator=generator) + 0.5)

    shape = CriticShape(width=16, dimension=6, second=second)
    return Critics([Critic(scale(8), scale(5), (3, 4), shape) for _ in range(count)]).eval()


def test_scores_are_the_members_mean() -> None:
    joint, local, z = critics(3, second=True), torch.randn(2, 8, 3, 4), torch.randn(4, 5)
    each = [m.project_local(local) @ m.project_representation(z).T for m in joint.members]
    u, v = joint.project_local(local), joint.project_representation(z)
    assert torch.allclose(u @ v.T, torch.stack(each).mean(0), atol=1e-6)
    locations = local.flatten(2).transpose(1, 2)
    some = torch.tensor([7, 0])
    assert torch.allclose(joint.project_locations(locations[:, some], some), u[:, some], atol=1e-6)
    for member in joint.members:
        torch.nn.init.normal_(member.second[2].weight)
    own = [m.second_scores(m.project_local(local), m.project_representation(z[:2])) for m in joint.members]
    assert torch.allclose(joint.second_scores(u, v[:2]), torch.stack(own).mean(0), atol=1e-5)


def test_of_few_images_several_critics_find_more_than_each_of_them() -> None:
    """Of 12 dimensions and their squares 48 images tell little: each critic learns much that is theirs alone."""
    rho = torch.tensor([correlation_of(2.0, 12)] * 4)
    train, held_out = gaussian_features(48, rho, 12, seed=1), gaussian_features(256, rho, 12, seed=2)
    joint = Critics([plain_critic(24, (1, 4)) for _ in range(3)])
    for seed, member in enumerate(joint.members):  # plain critics are alike
        torch.manual_seed(seed)
        for layer in member.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.reset_parameters()
    task = CriticTask(train, held_out)
    fit_critic(joint, task, CriticSettings(steps=60, images=32, places=4, validate_every=20, weight_decay=0.01))
    alone = [held_out_nats(member, task, 64) for member in members_of(joint)]
    assert held_out_nats(joint, task, 64) > 1.1 * max(alone) > 0.1, (alone, held_out_nats(joint, task, 64))
