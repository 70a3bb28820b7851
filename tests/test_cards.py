import pytest

from shiftcast.cards import ArchitectureCard, DatasetCard, Recipe, Suite, card_hash, read_card, recipe_hash
from shiftcast.errors import CardError

CARD = """
timm = "resnet18"
family = "resnet"
title = "ResNet-18"
citation = "He et al. 2016"
parameters = 11181642
feature_map = [512, 2, 2]
unstride = 1
[train.fast]
learning_rate = 0.5
"""

RECIPE = """
title = "Fast"
epochs = 3
batch_size = 64
optimiser = "sgd"
learning_rate = 0.1
weight_decay = 0.0005
schedule = "one-cycle"
"""


def write(tmp_path, text, name="thing.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_card_is_named_after_its_file(tmp_path):
    card = read_card(ArchitectureCard, write(tmp_path, CARD, "resnet18-cifar.toml"))
    assert (card.name, card.timm, card.unstride, card.precision) == (
        "resnet18-cifar",
        "resnet18",
        1,
        "float32",
    )


def test_an_unknown_key_is_refused_with_file_and_key(tmp_path):
    path = write(tmp_path, CARD.replace("unstride = 1", "unstrid = 1"))
    with pytest.raises(CardError, match=r"thing\.toml.*unstrid: Extra inputs are not permitted"):
        read_card(ArchitectureCard, path)


def test_every_fault_of_a_card_is_named(tmp_path):
    path = write(tmp_path, CARD.replace("11181642", "-1").replace("unstride = 1", "unstride = 'x'"))
    with pytest.raises(CardError, match=r"parameters: .*got -1.*unstride: .*got 'x'"):
        read_card(ArchitectureCard, path)


def test_text_that_is_not_toml_is_refused(tmp_path):
    with pytest.raises(CardError, match="is not valid TOML"):
        read_card(Recipe, write(tmp_path, "epochs = = 3"))


def test_a_collapsed_final_map_needs_a_reason(tmp_path):
    collapsed = CARD.replace("[512, 2, 2]", "[512, 1, 1]")
    with pytest.raises(CardError, match=r"below 2 x 2.*allow_collapse"):
        read_card(ArchitectureCard, write(tmp_path, collapsed))
    reason = collapsed.replace("unstride = 1", 'allow_collapse = "fast"')
    assert read_card(ArchitectureCard, write(tmp_path, reason)).allow_collapse == "fast"


def test_a_card_overrides_a_recipe_of_that_name_alone(tmp_path):
    card = read_card(ArchitectureCard, write(tmp_path, CARD))
    fast = read_card(Recipe, write(tmp_path, RECIPE, "fast.toml"))
    slow = read_card(Recipe, write(tmp_path, RECIPE, "slow.toml"))
    assert fast.resolved(card).learning_rate == 0.5
    assert fast.resolved(card).weight_decay == 0.0005
    assert slow.resolved(card) == slow


def test_hashes_follow_what_affects_training_only(tmp_path):
    card = read_card(ArchitectureCard, write(tmp_path, CARD))
    recipe = read_card(Recipe, write(tmp_path, RECIPE))
    assert card_hash(card) == card_hash(card.model_copy(update={"title": "x", "citation": "y"}))
    assert card_hash(card) != card_hash(card.model_copy(update={"unstride": 0}))
    assert recipe_hash(recipe) == recipe_hash(recipe.model_copy(update={"title": "x", "name": "y"}))
    assert recipe_hash(recipe) != recipe_hash(recipe.model_copy(update={"cutout": 8}))


def suite(**changes):
    values = {
        "name": "s",
        "version": 1,
        "title": "t",
        "description": "d",
        "source": {"train": "train", "test": "test"},
        "targets": [
            {"dataset": "natural"},
            {"dataset": "made", "transforms": ["fog", "snow"], "severities": [1, 5], "images": 10},
        ],
        "runs": [{"architectures": ["a", "b"], "recipe": "r", "seeds": [0, 1]}],
        "reference": {"members": ["c", "d", "e"], "recipe": "r"},
    }
    return Suite.model_validate(values | changes)


def test_fields_that_came_later_count_where_they_are_set(tmp_path):
    recipe = read_card(Recipe, write(tmp_path, RECIPE))
    before = "b48c85fffe42e4c07958ec90e20f671636e94a07ec2aa7f45ca3d6cd7cbb1a45"
    assert recipe_hash(recipe) == before
    hashes = {recipe_hash(recipe.model_copy(update={name: value})) for name, value in LATER.items()}
    assert len(hashes | {before}) == 1 + len(LATER)


LATER = {"ema": 0.99, "precision": "bfloat16"}


def test_a_recipe_may_fix_the_precision(tmp_path):
    card = read_card(ArchitectureCard, write(tmp_path, CARD))
    recipe = read_card(Recipe, write(tmp_path, RECIPE))
    assert recipe.fitted(card) == card
    assert recipe.model_copy(update={"precision": "bfloat16"}).fitted(card).precision == "bfloat16"


def test_targets_unfold_by_transform_and_severity():
    targets = suite().unfolded_targets()
    assert [t.id for t in targets] == ["natural", "made/fog-1", "made/fog-5", "made/snow-1", "made/snow-5"]
    assert [t.group for t in targets] == ["natural", "fog", "fog", "snow", "snow"]
    assert [t.derived for t in targets] == [False, True, True, True, True]


def test_runs_stand_architecture_by_architecture():
    assert [str(k) for k in suite().scored_runs()] == ["a/r/seed-0", "a/r/seed-1", "b/r/seed-0", "b/r/seed-1"]
    assert [str(k) for k in suite().reference_runs()] == ["c/r/seed-100", "d/r/seed-100", "e/r/seed-100"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": {"members": ["c", "d"], "recipe": "r"}}, "at least 3 items"),
        ({"reference": {"members": ["c", "d", "e"], "reserves": ["c"], "recipe": "r"}}, "listed twice"),
        ({"reference": {"members": ["a", "d", "e"], "recipe": "r", "seed": 1}}, "also a scored run"),
        ({"runs": [{"architectures": ["a", "a"], "recipe": "r", "seeds": [0]}]}, "listed twice"),
        ({"targets": [{"dataset": "x"}, {"dataset": "x"}]}, "same target is listed twice"),
        ({"targets": [{"dataset": "x", "transforms": ["fog"]}]}, "belong together"),
        (
            {"targets": [{"dataset": "x", "transforms": ["fog"], "severities": [6]}]},
            "less than or equal to 5",
        ),
    ],
)
def test_a_suite_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        suite(**changes)


DATASET = """
title = "Things"
description = "Three things."
layout = "arrays"
files = ["images.npy", "labels.npy"]
clusters = "clusters.npy"
classes = ["cat", "dog"]
n = 3
shift = "natural"
citation = "Nobody."
licence = "None"
obtain = "Ask."
"""


def test_a_dataset_card_may_name_clusters_and_views(tmp_path):
    text = DATASET + '[views.dogs]\ntitle = "dogs"\nwithout_classes = ["cat"]\nwithout_images = [2]\n'
    card = read_card(DatasetCard, write(tmp_path, text))
    assert card.clusters == "clusters.npy"
    assert card.views["dogs"].without_images == [2]


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ('without_classes = ["cow"]', "'cow' is no class"),
        ("without_images = [3]", "positions below 3"),
        ("without_images = [-1]", "greater than or equal to 0"),
        ('edition = "lost"', "'lost' is not under"),
    ],
)
def test_a_view_of_what_is_not_there_is_refused(tmp_path, view, message):
    with pytest.raises(CardError, match=message):
        read_card(DatasetCard, write(tmp_path, f'{DATASET}[views.part]\ntitle = "x"\n{view}\n'))


def test_clusters_belong_to_arrays(tmp_path):
    text = DATASET.replace('"arrays"', '"cifar10-binary"')
    with pytest.raises(CardError, match="clusters belongs to layout 'arrays'"):
        read_card(DatasetCard, write(tmp_path, text))
