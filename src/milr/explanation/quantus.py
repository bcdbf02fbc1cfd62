"""Maps as Quantus asks for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from milr.errors import MilrError
from milr.explanation.milr import MILR
from milr.networks.wrappers import unwrap


def quantus_explain(
    model: Any,
    inputs: Any,
    targets: Any,
    explainer: MILR | None = None,
    kind: str = "decision",
    refine: int = 0,
    **kwargs: Any,
) -> npt.NDArray[np.float32]:
    """Maps as `explain_func` of Quantus (Hedström et al. 2023), for `quantus.evaluate` and its metrics.

    Args:
        model: the network that Quantus evaluates: the explainer's own.
        inputs: images [K, C, H, W], an array or a tensor.
        targets: class numbers [K], which Quantus passes; they count with `refine`.
        explainer: fitted on that network. It goes in `explain_func_kwargs`.
        kind: which map: decision, total, kept, redundant or mask.
        refine: as `MILR.attribute` takes it.
        kwargs: whatever else Quantus passes; unused.

    Returns:
        [K, 1, H, W], float32, at the inputs' size.

    Raises:
        MilrError: without an explainer, and for another network than its own: metrics that randomise weights (MPRT)
            would measure a network that is not explained.

    Example:
        >>> import milr, torch, torchvision
        >>> network, images = torchvision.models.resnet18(num_classes=4), torch.randn(8, 3, 32, 32)
        >>> explainer = milr.MILR(network, "layer1", "avgpool")
        >>> explainer.prepare(images)
        >>> explainer.fitted = True  # for the example: to see maps of modules that were not fitted
        >>> milr.quantus_explain(network, images.numpy(), [0] * 8, explainer=explainer).shape
        (8, 1, 32, 32)
    """
    if not isinstance(explainer, MILR):
        raise MilrError('quantus_explain needs the explainer: explain_func_kwargs={"explainer": explainer}')
    own = explainer.layers.network
    if unwrap(model) is not own and getattr(model, "model", None) is not own:  # alone, or in a model of Quantus's
        raise MilrError(
            "Quantus calls with another network than the explainer was fitted on: metrics that randomise its weights "
            "need an explainer fitted to each"
        )
    heat = explainer.attribute(torch.as_tensor(inputs), targets, kind, refine)
    assert isinstance(heat, Tensor)  # for a tensor a tensor
    return heat.cpu().numpy()
