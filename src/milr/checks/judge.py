"""`judge`: a copy of the network that has learned to decide about pictures of which places are missing.

What is left of a picture when places are removed is nothing that the network ever saw, so a map may look good because
what it leaves is misread, and not because it holds what the decision needs (Hooker et al. 2019, "A Benchmark for
Interpretability Methods in Deep Neural Networks"; Jethani et al. 2021). The copy has seen such pictures, with places
missing at random, which favours no map.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from milr.bars import bar
from milr.decisions.decisions import Batch
from milr.errors import MilrError
from milr.evaluation.fills import filling
from milr.explanation.milr import MILR
from milr.information.mask import blurred
from milr.networks.layers import LayerPair
from milr.seeding import seed_of

LEAST = 0.03  # share of the places that are kept at least, and removed at least
SIGMAS = (0.0, 1.0, 2.0, 4.0)  # of the missing regions' shapes: single places to large ones


def another_judge(explainer: MILR, batches: Callable[[int], Batch], steps: int, rate: float, seed: int) -> LayerPair:
    """A copy of the explained network, fine-tuned above the local layer, at which random places are filled.

    Args:
        explainer: whose network, layers and fill they are.
        batches: of each step, from 1 on, as the mask was fitted to them.
        steps: of Adam, the rate falling to zero along a cosine. Normalisation statistics stay as they are.
        rate: at the beginning.
        seed: of the places and the noise.

    Raises:
        MilrError: for a loss that is not finite.
    """
    layers, scale, fill = explainer.layers, explainer.modules.local, explainer.settings.mask.fill
    network = copy.deepcopy(layers.network).eval().requires_grad_(True)
    judge = LayerPair(network, layers.example, layers.choice, layers.stages, layers.precision)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = CosineAnnealingLR(optimiser, max(1, steps))
    for step in bar(range(1, steps + 1), desc="judge", unit="step"):
        batch, generator = batches(step), torch.Generator().manual_seed(seed_of("judge", seed, step))

        def with_gaps(local: Tensor, step: int = step, generator: torch.Generator = generator) -> Tensor:
            """Some places of the layer's features, the rest filled."""
            kept = random_places((len(local), *local.shape[2:]), generator).to(local.device)
            return torch.where(kept[:, None], local, filling(fill, local, scale, seed_of("judge's fill", seed, step)))

        loss = batch.decided(judge.changed_pass(batch.images, with_gaps)).loss.mean()
        if not torch.isfinite(loss):
            raise MilrError(f"the judge's loss is {float(loss)} at step {step}: lower sanity.judge_rate")
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    network.requires_grad_(False)
    return judge


def random_places(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """The places that stay, bool [K, H, W]: a share common to all, of any size, in shapes from rough to smooth."""
    share = LEAST + (1 - 2 * LEAST) * float(torch.rand((), generator=generator))
    sigma = SIGMAS[int(torch.randint(len(SIGMAS), (), generator=generator))]
    field = torch.randn(shape[0], 1, *shape[1:], generator=generator)
    field = (blurred(field, sigma) if sigma else field)[:, 0]
    count = round(share * field[0].numel())
    return field >= field.flatten(1).topk(max(1, count)).values[:, -1, None, None]
