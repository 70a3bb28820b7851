"""Values that cards refuse, each with the reason."""

import pytest
from pydantic import TypeAdapter, ValidationError

from shiftcast.cards.architecture import TrainingOverride
from shiftcast.cards.base import Name, explain, read_card
from shiftcast.cards.recipe import Recipe, recipe_hash
from shiftcast.cards.suite import RunKey
from shiftcast.errors import CardError

RECIPE = {
    "title": '"Fast"',
    "epochs": "3",
    "batch_size": "64",
    "optimiser": '"sgd"',
    "learning_rate": "0.1",
    "weight_decay": "0.0005",
    "schedule": '"one-cycle"',
}


def recipe(folder, **changed):
    path = folder / "thing.toml"
    path.write_text("".join(f"{key} = {value}\n" for key, value in (RECIPE | changed).items()))
    return read_card(Recipe, path)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("batch_size", "1", r"batch_size: expected at least 2 images: batch normalisation needs two"),
        ("learning_rate", "inf", "learning_rate: Input should be a finite number"),
        ("learning_rate", "nan", "learning_rate: Input should be a finite number"),
        ("learning_rate", "0", "learning_rate: Input should be greater than 0"),
        ("weight_decay", "inf", "weight_decay: Input should be a finite number"),
        ("weight_decay", "-1", "weight_decay: Input should be greater than or equal to 0"),
    ],
)
def test_settings_that_cannot_train_are_refused(tmp_path, key, value, reason):
    with pytest.raises(CardError, match=reason):
        recipe(tmp_path, **{key: value})
    with pytest.raises(ValidationError) as caught:
        TrainingOverride.model_validate({key: float(value)})
    assert reason in explain(caught.value)


def test_signals_may_be_switched_off(tmp_path):
    off, unset = recipe(tmp_path, signals="false"), recipe(tmp_path)
    assert off == unset
    assert recipe_hash(off) == recipe_hash(unset)
    assert recipe(tmp_path, signals="true").signals is True
    with pytest.raises(CardError, match="signals: Input should be True"):
        recipe(tmp_path, signals='"yes"')


@pytest.mark.parametrize("name", ["con", "aux", "nul", "prn", "com1", "lpt9", "nul.v2", "a.", "a.."])
def test_names_that_windows_cannot_store_are_refused(name):
    with pytest.raises(ValidationError, match="expected a name that Windows can store"):
        RunKey(architecture=name, recipe="plain", seed=0)


@pytest.mark.parametrize("name", ["console", "con-net", "auxiliary", "com", "com10", "a.b", "resnet18"])
def test_names_that_only_look_like_those_are_kept(name):
    assert TypeAdapter(Name).validate_python(name) == name
