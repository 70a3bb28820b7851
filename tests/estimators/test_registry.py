"""Names on the board, and estimators that other packages register."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

import shiftcast.estimators as package
from shiftcast.errors import BrokenEstimatorError, UnknownNameError
from shiftcast.estimators import (
    Estimator,
    NoShift,
    get_estimator,
    load_outside,
    official_estimators,
    outside_estimators,
    registry,
)
from shiftcast.predictions import Estimate, Predictions

GROUP = "shiftcast.estimators"


class Trackless(Estimator):
    """Declares nothing, and is never run."""

    def _fit(self, source: Predictions, others: Sequence[Predictions]) -> None: ...

    def _predict(self, target: Predictions) -> Estimate: ...


class Demanding(NoShift):
    requires = frozenset({"logits", "images"})


BROKEN = SimpleNamespace(Trackless=Trackless, Demanding=Demanding)


def register(monkeypatch: pytest.MonkeyPatch, **entries: str) -> None:
    found = [EntryPoint(name, value, GROUP) for name, value in entries.items()]
    monkeypatch.setattr(registry, "entry_points", lambda *, group: found if group == GROUP else [])


def test_board_order() -> None:
    names = """
        NoShift MeanShift AC AC-TS DoC IM ATC-MC ATC-NE ATC-MC-TS ATC-NE-TS ClassATC COT COTT COT-TS
        COTT-TS CorrectnessRegression DensityRatioAC ImportanceWeighted GDE ALine-S ALine-D
        ConfusionPartition AgreementShift
        OwnLabelPartition OwnLabelPartition-mean BalancedAgreement LargestDrop LargestDrop-T1
        CorrectnessRegression-T2 DawidSkene DoC-scaled AgreementShift-scaled NuclearNorm MaNo MDE
        SoftmaxCorr Entropy MutualInformation Dispersion FrechetDistance EffectiveInvariance
        NeighbourhoodInvariance LearnedEpochPartition DepthPartition
    """
    assert list(official_estimators()) == names.split()


def test_every_call_gives_fresh_instances() -> None:
    assert get_estimator("NoShift") is not get_estimator("NoShift")
    assert get_estimator("AC-TS").get_params()["calibration"] == "temperature"
    assert get_estimator("ATC-NE").get_params()["score"] == "negative_entropy"


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match="unknown estimator 'ConfusionPartiton'; did you mean ConfusionPartition"
    ):
        get_estimator("ConfusionPartiton")


def test_outside_estimators_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, Zeta="shiftcast.estimators:NoShift", Alpha="shiftcast.estimators:GDE")
    assert list(outside_estimators()) == ["Alpha", "Zeta"]
    assert isinstance(get_estimator("Zeta"), NoShift)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("no_such_package:Mine", "could not be loaded: ModuleNotFoundError: No module named"),
        ("shiftcast.estimators:NoSuch", "could not be loaded: AttributeError: .*NoSuch"),
        ("shiftcast.estimators:Calibrated", "could not be loaded: TypeError"),
        ("builtins:dict", "expected a subclass of shiftcast.estimators.Estimator, got dict"),
        ("tests.estimators.broken:Trackless", "track must be one of T1, T2.* the class has none"),
        ("tests.estimators.broken:Demanding", r"requires must be a subset of .* holds \['images'\]"),
    ],
)
def test_a_bad_entry_point_is_named_and_stops_nobody_else(
    monkeypatch: pytest.MonkeyPatch, entry: str, message: str
) -> None:
    monkeypatch.setitem(sys.modules, "tests.estimators.broken", BROKEN)
    register(monkeypatch, Mine=entry, Zeta="shiftcast.estimators:NoShift")
    assert list(outside_estimators()) == ["Zeta"]
    (complaint,) = load_outside().complaints()
    assert re.search(rf"^skipped Mine of package an unknown package .*: {message}", complaint)
    assert isinstance(get_estimator("Zeta"), NoShift)
    with pytest.raises(BrokenEstimatorError, match=f"estimator Mine of package .*{message}"):
        get_estimator("Mine")


def test_names_of_ours_cannot_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, NoShift="shiftcast.estimators:GDE")
    assert outside_estimators() == {}
    assert "the name 'NoShift' is already in use" in load_outside().broken["NoShift"]
    assert isinstance(get_estimator("NoShift"), NoShift)


def test_export_list() -> None:
    assert {type(estimator).__name__ for estimator in official_estimators().values()} <= set(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)
