"""The maps' identities, and the module's way through a checkpoint."""

import math

import pytest
import torch
from toy import Network, pictures, prepared, trained_network

from milr.errors import MilrError
from milr.explanation.maps import KINDS, stack
from milr.explanation.milr import MILR
from milr.explanation.settings import BottleneckSettings, InfomaxSettings, MaskSettings, MilrSettings
from milr.information.infomax import DENOMINATORS
from milr.information.readings import READINGS

VARIATIONAL = MilrSettings(bottleneck=BottleneckSettings(kind="variational"))
PLACE = MilrSettings(infomax=InfomaxSettings(map="place", denominator="same_place"))
PLACES = MilrSettings(infomax=InfomaxSettings(map="sample", denominator="places", place=False))
ZERO_FILL = MilrSettings(mask=MaskSettings(fill="zero"), bottleneck=BottleneckSettings(kind="variational"))


def set_mask(explainer: MILR, logit: float) -> None:
    """The same mask at every place: sigmoid(logit)."""
    last = explainer.modules.mask.combine[-1]
    torch.nn.init.zeros_(last.weight)  # type: ignore[arg-type]
    torch.nn.init.constant_(last.bias, logit)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [MilrSettings(), VARIATIONAL, ZERO_FILL, PLACE, PLACES])
@pytest.mark.parametrize("redundancy", ["representation", "occluded"])
def test_an_open_mask_leaves_nothing_redundant(settings: MilrSettings, redundancy: str) -> None:
    settings = MilrSettings(**{**vars(settings), "redundancy": redundancy})
    explainer = prepared(settings)
    set_mask(explainer, 40.0)  # sigmoid gives exactly 1
    maps = explainer.maps(pictures(4, seed=7)[0], READINGS)
    assert maps.mask.min() == 1
    assert maps.redundant.abs().max() == 0
    assert all(kinds["redundant"].abs().max() == 0 for kinds in maps.readings.values())
    assert torch.isfinite(maps.decision).all()


def test_a_closed_mask_passes_nothing() -> None:
    explainer = prepared()
    set_mask(explainer, -200.0)  # sigmoid gives exactly 0
    assert explainer.maps(pictures(4, seed=7)[0]).decision.abs().max() == 0


@pytest.mark.parametrize(("settings", "draws"), [(MilrSettings(), 4), (ZERO_FILL, 1)])
def test_the_network_gives_what_it_gives_through_an_open_mask_and_noise_alone_through_a_closed_one(
    settings: MilrSettings, draws: int
) -> None:
    explainer, images = prepared(settings), pictures(4, seed=7)[0]
    set_mask(explainer, 40.0)
    untouched = explainer.maps(images).output
    torch.testing.assert_close(explainer.masked_outputs(images), untouched.expand(draws, -1, -1))
    set_mask(explainer, -200.0)
    alone = explainer.masked_outputs(images)
    assert torch.equal(alone, explainer.masked_outputs(images.flip(0)))  # nothing of the images
    if draws > 1:  # each draw and image has noise of its own
        assert len(alone.flatten(0, 1).unique(dim=0)) == draws * len(images)


@pytest.mark.parametrize("settings", [MilrSettings(), VARIATIONAL, PLACE, PLACES])
def test_an_image_has_the_same_maps_in_any_batch(settings: MilrSettings) -> None:
    explainer = prepared(settings)
    images = pictures(6, seed=7)[0]
    together, alone = explainer.maps(images), explainer.maps(images[4:5])
    for kind in (*KINDS, "mask"):
        assert torch.allclose(getattr(together, kind)[4:5], getattr(alone, kind), atol=1e-4)


SOUND = [("sample", name) for name in DENOMINATORS]
SOUND += [("place", "places"), ("place", "same_place"), ("representation", "representations")]


@pytest.mark.parametrize(
    ("reading", "denominator"),
    [(reading, name) for reading in READINGS for name in DENOMINATORS if (reading, name) not in SOUND],
)
def test_a_reading_that_the_denominator_leaves_open_is_refused(reading: str, denominator: str) -> None:
    with pytest.raises(MilrError, match=f"infomax.map={reading} cannot be read .* infomax.denominator={denominator} "):
        prepared(MilrSettings(infomax=InfomaxSettings(map=reading, denominator=denominator)))


@pytest.mark.parametrize(("reading", "denominator"), SOUND)
def test_maps_are_in_bits_at_the_local_layers_resolution_under_their_cap(reading: str, denominator: str) -> None:
    infomax = InfomaxSettings(map=reading, denominator=denominator, bank_images=20, bank_representations=30)
    explainer = prepared(MilrSettings(infomax=infomax))
    maps = explainer.maps(pictures(3, seed=7)[0])
    shapes = {getattr(maps, kind).shape for kind in (*KINDS, "mask")}
    assert shapes == {(3, 16, 16)}
    by_z = reading == "representation" or (reading == "sample" and denominator == "representations")
    assert maps.cap == pytest.approx(math.log2(1 + (30 if by_z else 20)))
    assert (maps.total.mean((1, 2)) <= maps.cap).all()
    if reading != "sample":
        assert maps.total.min() >= -1e-5 and maps.kept.min() >= -1e-5
    row = maps.rows()[1]
    assert row["total_bits"] == pytest.approx(maps.total[1].sum().item())
    assert row["saturation"] == pytest.approx(row["total_mean_bits"] / row["cap_bits"])
    assert row["redundant_share_negative"] == pytest.approx((maps.redundant[1] < 0).float().mean().item())


def test_what_a_closed_mask_keeps_is_nothing_and_all_the_rest_is_redundant() -> None:
    explainer = prepared(MilrSettings())
    set_mask(explainer, -20.0)
    maps = explainer.maps(pictures(4, seed=7)[0])
    assert maps.mask.max() < 1e-6 and maps.total.mean() > 1e-3
    assert (maps.kept <= maps.decision).all() and maps.kept.abs().max() < 1e-4
    torch.testing.assert_close(maps.redundant, maps.total, rtol=0, atol=1e-4)


@pytest.mark.parametrize("redundancy", ["representation", "occluded"])
@pytest.mark.parametrize("reading", READINGS)
def test_what_is_kept_and_what_is_redundant_add_up_to_the_total(reading: str, redundancy: str) -> None:
    infomax = InfomaxSettings(map=reading, denominator="same_place" if reading == "place" else "representations")
    explainer = prepared(MilrSettings(redundancy=redundancy, infomax=infomax))
    set_mask(explainer, 0.0)
    maps = explainer.maps(pictures(4, seed=7)[0], READINGS)
    assert torch.equal(maps.redundant, maps.total - maps.kept)  # eq. 9, to the last bit of a float
    assert maps.redundant.abs().max() > 1e-4
    assert set(maps.readings) == set(READINGS) - {reading}
    for other in maps.readings.values():
        assert torch.equal(other["redundant"], other["total"] - other["kept"])
    whole = stack([maps, maps])
    assert all(torch.equal(whole.readings[name]["total"][4:], kinds["total"]) for name, kinds in maps.readings.items())


def test_each_reading_beside_the_settings_own_is_the_one_that_the_settings_would_give() -> None:
    images = pictures(4, seed=7)[0]
    for denominator, map_of in (("representations", "representation"), ("same_place", "place")):
        beside = prepared(MilrSettings(infomax=InfomaxSettings(map="sample", denominator=denominator))).maps(
            images, READINGS
        )
        own = prepared(MilrSettings(infomax=InfomaxSettings(map=map_of, denominator=denominator))).maps(images)
        assert torch.equal(beside.readings[map_of]["total"], own.total)
        assert torch.equal(beside.readings[map_of]["redundant"], own.redundant)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_maps_are_never_silently_nan(bad: float) -> None:
    explainer = prepared()
    images = pictures(4, seed=7)[0]
    images[2, 1, 5, 5] = bad
    with pytest.raises(MilrError, match=r"the network's output holds nan or inf for image 2 \(1 of 4 images\)"):
        explainer.maps(images)
    set_mask(explainer, float("nan"))
    with pytest.raises(MilrError, match=r"the kept map holds nan or inf for image 0 \(4 of 4 images\)"):
        explainer.maps(pictures(4, seed=7)[0])


def test_classes_that_are_out_of_the_question_leave_maps() -> None:
    class Masked(Network):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) + torch.tensor([0.0, 0.0, 0.0, -torch.inf])

    network = Masked()
    network.load_state_dict(trained_network().state_dict())
    explainer, images = prepared(network=network), pictures(4, seed=7)[0]
    maps = explainer.maps(images, refine=1)
    assert bool((maps.output[:, 3] == -torch.inf).all()) and len(explainer.masked_outputs(images)) and len(maps) == 4
    assert explainer.decision_map(images).isfinite().all()


def test_training_images_without_finite_features_are_refused_by_the_layers_name() -> None:
    images = pictures(8, seed=0)[0]
    explainer = MILR(trained_network(), "layer1", "avgpool", images[:2])
    images[5] = 1e38
    with pytest.raises(MilrError, match="layer 'layer1' gives nan or inf for the training images"):
        explainer.prepare(images.split(4), 8)
    images[5, 0, 0, 0] = float("nan")
    with pytest.raises(MilrError, match="image 5 of those given to prepare holds nan or inf"):
        explainer.prepare(images.split(4), 8)


@pytest.mark.parametrize("settings", [MilrSettings(alpha=0.3), VARIATIONAL])
def test_a_loaded_module_gives_the_same_maps(settings: MilrSettings) -> None:
    explainer = prepared(settings)
    images = pictures(4, seed=7)[0]
    loaded = MILR.load(trained_network(), explainer.state(), images[:2])
    assert loaded.settings == settings
    for kind in ("total", "decision", "redundant"):
        assert torch.equal(getattr(loaded.maps(images), kind), getattr(explainer.maps(images), kind))


def test_a_module_that_was_never_fitted_gives_no_maps_by_mistake() -> None:
    explainer = prepared(fitted=False)
    images = pictures(4, seed=7)[0]
    with pytest.raises(MilrError, match=r"prepared but never fitted, .*set explainer.fitted = True"):
        explainer.maps(images)
    loaded = MILR.load(trained_network(), explainer.state(), images[:2])
    with pytest.raises(MilrError, match="never fitted"):
        loaded.maps(images)
    loaded.fitted = explainer.fitted = True
    assert torch.equal(loaded.maps(images).total, explainer.maps(images).total)
    explainer.prepare(images.split(2), 4)
    with pytest.raises(MilrError, match="never fitted"):
        explainer.maps(images)


def test_equal_training_images_are_refused() -> None:
    images = pictures(1, seed=0)[0].expand(4, -1, -1, -1)
    explainer = MILR(trained_network(), "layer1", "avgpool", pictures(2, seed=0)[0], VARIATIONAL)
    with pytest.raises(MilrError, match=r"the same for every image of the 4"):
        explainer.prepare(images.split(2), 4)


def test_no_maps_before_the_training_images_are_known() -> None:
    images = pictures(2, seed=0)[0]
    with pytest.raises(MilrError, match="call fit"):
        MILR(trained_network(), "layer1", "avgpool", images).maps(images)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (MilrSettings(alpha=-1), "alpha=-1: the value must be at least 0"),
        (MilrSettings(redundancy="x"), "redundancy=x: choose one of representation, occluded"),
        (MilrSettings(mask=MaskSettings(fill="blur")), "mask.fill=blur: choose one of noise, zero"),
        (MilrSettings(mask=MaskSettings(initial=1.0)), "mask.initial=1.0: .*from 0.001 to 0.999"),
        (MilrSettings(mask=MaskSettings(fill="zero")), "noise fill only"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: MilrSettings, message: str) -> None:
    with pytest.raises(MilrError, match=message):
        MILR(trained_network(), "layer1", "avgpool", pictures(2, seed=0)[0], settings)


def test_a_reading_that_there_is_not_is_refused() -> None:
    with pytest.raises(MilrError, match=r"readings=\['places'\]\): choose among sample, place, representation"):
        prepared().maps(pictures(2, seed=1)[0], ["place", "places"])
