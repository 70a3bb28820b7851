"""Conformal intervals of rows: which errors they learn from."""

import numpy as np
import pandas as pd
import pytest

from shiftcast.scoring.conformal import residuals_of, with_conformal
from shiftcast.statistics import conformal_interval, conformal_reach, inverse_probit, probit

MODELS, GROUPS = ("a", "b", "c"), ("g1", "g2", "g3", "g4", "g5")


def rows(errors, groups=GROUPS, **changes):
    """One row a model and group with a given probit error, predicted 0.7 on 1,000 images."""
    table = [
        {
            "estimator": "E",
            "natural": True,
            "protocol": "official",
            "abstains": False,
            "architecture": model,
            "recipe": "r",
            "seed": 0,
            "group": group,
            "target": group,
            "n": 1000,
            "predicted": 0.7,
            "actual": float(inverse_probit(probit(0.7, 1000) + errors[model, group])),
        }
        for model in MODELS
        for group in groups
    ]
    return pd.DataFrame(table).assign(**changes)


@pytest.fixture
def errors():
    random = np.random.default_rng(0)
    return {(model, group): random.normal() / 3 for model in MODELS for group in GROUPS}


def test_rows_learn_from_other_groups_and_other_models(errors):
    table = with_conformal(rows(errors))
    for row in table.to_dict("records"):
        known = [
            abs(value)
            for (model, group), value in errors.items()
            if model != row["architecture"] and group != row["group"]
        ]
        low, high, _ = conformal_interval(0.7, 1000, max(known))  # 80 % of four groups is the largest
        assert row["conformal_level"] == 0.8
        assert row["conformal_groups"] == 4
        assert (row["conformal_low"], row["conformal_high"]) == pytest.approx((low, high), abs=1e-6)


def test_groups_weigh_the_same_however_many_models_they_hold():
    random = np.random.default_rng(1)
    groups = [f"g{number}" for number in range(24)]
    held = [(m, g) for g in groups for m in MODELS if m == "a" or random.random() < 0.6]
    errors = {key: random.normal() / 3 for key in held}
    table = rows({(m, g): errors.get((m, g), 0.0) for m in MODELS for g in groups}, groups)
    kept = [(m, g) in errors for m, g in zip(table["architecture"], table["group"], strict=True)]
    for row in with_conformal(table[kept]).to_dict("records"):
        others: dict[str, list[float]] = {}
        for (model, group), error in errors.items():
            if model != row["architecture"] and group != row["group"]:
                others.setdefault(group, []).append(error)
        level = row["conformal_level"]
        assert level == (0.95 if len(others) >= 19 else 0.9)
        low, high, _ = conformal_interval(0.7, 1000, conformal_reach(list(others.values()), level))
        assert (row["conformal_low"], row["conformal_high"]) == pytest.approx((low, high), abs=1e-6)


def test_own_error_changes_nothing(errors):
    plain = with_conformal(rows(errors)).iloc[0]
    changed = with_conformal(rows({**errors, ("a", "g1"): 9.0})).iloc[0]
    columns = [name for name in plain.index if name.startswith("conformal")]
    pd.testing.assert_series_equal(plain[columns], changed[columns])
    assert with_conformal(rows({**errors, ("b", "g2"): 3.0})).iloc[0]["conformal_high"] > 0.99


def test_a_kind_of_shift_learns_from_its_own_kind(errors):
    table = rows(errors)
    table["natural"] = table["group"] != "g5"
    found = with_conformal(table)
    assert found["conformal_level"].isna().all()  # three other natural shifts, no other synthetic one
    assert set(found["conformal_groups"]) == {3, 0}


def test_withheld_targets_have_intervals_and_teach_nothing(errors):
    table = rows(errors)
    table.loc[table["group"] == "g5", "actual"] = np.nan
    found = with_conformal(table).set_index(["architecture", "group"])
    assert found.loc[("a", "g5"), "conformal_level"] == 0.8
    assert np.isnan(found.loc[("a", "g1"), "conformal_level"])
    assert ("E", True) in residuals_of(table)
    assert set(residuals_of(table)["E", True]) == set(GROUPS[:4])


@pytest.mark.parametrize("change", [{"abstains": True}, {"protocol": "shared"}])
def test_rows_without_an_official_answer_have_none(errors, change):
    found = with_conformal(rows(errors, **change))
    assert found["conformal_low"].isna().all()
