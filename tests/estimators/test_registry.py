"""Names on the board, and estimators that other packages register."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

import shiftcast.estimators as package
from shiftcast.errors import InvalidInputError, UnknownNameError
from shiftcast.estimators import NoShift, get_estimator, official_estimators, outside_estimators, registry

GROUP = "shiftcast.estimators"


def register(monkeypatch: pytest.MonkeyPatch, **entries: str) -> None:
    found = [EntryPoint(name, value, GROUP) for name, value in entries.items()]
    monkeypatch.setattr(registry, "entry_points", lambda *, group: found if group == GROUP else [])


def test_board_order() -> None:
    names = """
        NoShift MeanShift AC AC-TS DoC IM ATC-MC ATC-NE COT COTT GDE ALine-S ALine-D ConfusionPartition
        AgreementShift OwnLabelPartition OwnLabelPartition-mean NuclearNorm MaNo MDE SoftmaxCorr Entropy
        MutualInformation Dispersion FrechetDistance
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
        ({"NoShift": "shiftcast.estimators:GDE"}, "the name 'NoShift' is already in use"),
        ({"Mine": "no_such_package:Mine"}, "'Mine' of an unknown package .*could not be loaded"),
        ({"Mine": "builtins:dict"}, "expected a subclass of shiftcast.estimators.Estimator, got dict"),
    ],
)
def test_bad_entry_points_are_named(
    monkeypatch: pytest.MonkeyPatch, entry: dict[str, str], message: str
) -> None:
    register(monkeypatch, **entry)
    with pytest.raises(InvalidInputError, match=message):
        outside_estimators()


def test_export_list() -> None:
    assert {type(estimator).__name__ for estimator in official_estimators().values()} <= set(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)
