"""The temperature of many outputs, found in few passes, is that of the whole search."""

import sys

import numpy as np
import pytest

from shiftcast.calibration import temperature_fit


@pytest.mark.parametrize("factor", [0.3, 1.0, 7.0])
def test_few_passes_find_the_same_temperature(monkeypatch, factor):
    random = np.random.default_rng(0)
    labels = random.integers(0, 12, 9000)
    logits = random.normal(size=(9000, 12)) * factor
    logits[np.arange(9000), labels] += 1.5 * factor
    expected = temperature_fit(logits, labels)
    monkeypatch.setattr(sys.modules[temperature_fit.__module__], "LARGE", 50_000)
    found = temperature_fit(logits, labels)
    assert found.value == pytest.approx(expected.value, rel=2e-7)
    assert found.inverse_error == pytest.approx(expected.inverse_error, rel=1e-5)
    assert not found.bounded
