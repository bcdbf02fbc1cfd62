"""MI-LR in Captum's and Quantus's own code, and the metrics that Quantus and milr both have: the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from toy import SQUARE, pictures, prepared

import milr
from milr.errors import MilrError
from milr.evaluation.location import coverage, mass_share, pointing_hit, rank_accuracy

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # quantus takes 4 s to import, and warns
IMAGES, LABELS, SQUARES = pictures(8, seed=7)


@pytest.fixture(scope="module")
def quantus() -> Any:
    import quantus

    return quantus


def evaluated(quantus: Any, metrics: dict[str, Any], masks: torch.Tensor, explainer: milr.MILR) -> dict[str, Any]:
    return quantus.evaluate(
        metrics=metrics,
        xai_methods={"milr": milr.quantus_explain},
        model=explainer.network,
        x_batch=IMAGES.numpy(),
        y_batch=LABELS.numpy(),
        s_batch=masks[:, None].numpy(),
        explain_func_kwargs={"explainer": explainer, "kind": "decision"},
    )["milr"]


def test_quantus_measures_what_milr_measures(quantus: Any) -> None:
    explainer = prepared()
    plain = {"abs": False, "normalise": False, "disable_warnings": True}
    given = evaluated(
        quantus,
        {
            "pointing": quantus.PointingGame(**plain),
            "mass": quantus.RelevanceMassAccuracy(**plain),
            "rank": quantus.RelevanceRankAccuracy(**plain),
        },
        SQUARES,
        explainer,
    )
    heats = explainer.attribute(IMAGES)[:, 0].double()
    own = {"pointing": pointing_hit, "mass": mass_share, "rank": rank_accuracy}
    for name, measure in own.items():
        expected = [measure(heat, square.bool()) for heat, square in zip(heats, SQUARES, strict=True)]
        np.testing.assert_allclose(np.array(given[name], dtype=float), expected, atol=1e-6, err_msg=name)
    assert 0 < np.mean(given["mass"]) < 1 and len(set(given["rank"])) > 1


def test_its_top_k_is_the_share_of_places_that_count_as_marked(quantus: Any) -> None:
    explainer = prepared()
    heats = explainer.attribute(IMAGES)[:, 0]
    places = [(4 * number, 3 * number) for number in range(8)]
    masks = torch.zeros(8, 32, 32)
    for mask, place in zip(masks, places, strict=True):
        mask[place] = 1
    top = round(0.2 * 32 * 32)
    metric = quantus.TopKIntersection(k=top, abs=False, normalise=False, disable_warnings=True)
    given = evaluated(quantus, {"top": metric}, masks, explainer)["top"]
    expected = [coverage(heat, place) for heat, place in zip(heats, places, strict=True)]
    np.testing.assert_allclose(top * np.array(given), expected, atol=1e-6)
    assert 0 < sum(expected) < 8


def test_its_metrics_that_explain_again_run(quantus: Any) -> None:
    metric = quantus.MaxSensitivity(nr_samples=2, abs=False, normalise=False, disable_warnings=True)
    flipping = quantus.PixelFlipping(features_in_step=SQUARE * SQUARE, disable_warnings=True)
    given = evaluated(quantus, {"sensitivity": metric, "flipping": flipping}, SQUARES, prepared())
    assert np.isfinite(given["sensitivity"]).all() and np.isfinite(given["flipping"]).all()


def test_another_network_than_the_explainers_is_refused() -> None:
    with pytest.raises(MilrError, match='explain_func_kwargs={"explainer": explainer}'):
        milr.quantus_explain(None, IMAGES, LABELS)
    with pytest.raises(MilrError, match="another network than the explainer was fitted on"):
        milr.quantus_explain(torch.nn.Linear(2, 2), IMAGES, LABELS, explainer=prepared())


def test_captums_metric_takes_the_attribution() -> None:
    from captum.metrics import sensitivity_max

    explainer = prepared()
    given = sensitivity_max(explainer.attribute, IMAGES, n_perturb_samples=2, target=LABELS)
    assert given.shape == (8,) and given.isfinite().all()
