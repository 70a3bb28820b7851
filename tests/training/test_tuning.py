"""Learning-rate trials: which images they see, and what a diverging one leaves."""

import math

import numpy as np
import pytest

from shiftcast.cards.architecture import ArchitectureCard
from shiftcast.cards.recipe import Recipe
from shiftcast.data.readers.layouts import Images
from shiftcast.errors import InvalidInputError
from shiftcast.training.tuning import hold_out, try_rates

CARD = ArchitectureCard(
    name="x", timm="test_resnet", family="x", title="", citation="", parameters=1, feature_map=[1, 2]
)
RECIPE = Recipe(
    name="tiny",
    title="",
    epochs=3,
    batch_size=32,
    optimiser="sgd",
    learning_rate=0.1,
    weight_decay=0.0,
    schedule="one-cycle",
)


@pytest.fixture(scope="module")
def images():
    """Images of one grey level a class under noise; each is numbered by its first pixel."""
    labels = np.arange(200) % 4
    pixels = (
        40 + 50 * labels[:, None, None, None] + np.random.RandomState(0).randint(-30, 31, (200, 32, 32, 3))
    )
    pixels[:, 0, 0, 0] = np.arange(200)
    return Images(pixels.astype(np.uint8), labels)


def test_the_two_parts_share_no_image_and_keep_the_class_proportions(images):
    data = hold_out(images, held_out=40, fitting=100, seed=3)
    numbers = [set(part.images[:, 0, 0, 0].tolist()) for part in (data.fitting, data.held_out)]
    assert (len(numbers[0]), len(numbers[1])) == (100, 40)
    assert not numbers[0] & numbers[1]
    assert np.bincount(data.fitting.labels).tolist() == [25] * 4
    assert np.bincount(data.held_out.labels).tolist() == [10] * 4
    assert len(hold_out(images, 40, None, 3).fitting) == 160


@pytest.mark.parametrize(("held_out", "fitting"), [(0, None), (200, None), (40, 161), (40, 0)])
def test_parts_that_do_not_fit_are_refused(images, held_out, fitting):
    with pytest.raises(InvalidInputError, match="expected 1 to"):
        hold_out(images, held_out, fitting, 0)


def test_a_rate_that_learns_is_told_from_ones_that_do_not(images):
    data = hold_out(images, 40, None, 0)
    nothing, good, wild = try_rates(CARD, RECIPE, [1e-9, 0.02, 1e30], data, "cpu", seed=1)
    assert good.accuracy > nothing.accuracy + 0.2
    assert math.isnan(wild.accuracy)
    assert (good.architecture, good.recipe, good.learning_rate) == ("x", "tiny", 0.02)
    again = next(iter(try_rates(CARD, RECIPE, [0.02], data, "cpu", seed=1)))
    assert (again.accuracy, again.loss) == (good.accuracy, good.loss)
