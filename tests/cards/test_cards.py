import pytest

from shiftcast.cards.architecture import ArchitectureCard, card_hash
from shiftcast.cards.base import read_card
from shiftcast.cards.dataset import DatasetCard
from shiftcast.cards.recipe import RandAugmentSpec, Recipe, recipe_hash
from shiftcast.cards.suite import Suite
from shiftcast.errors import CardError
from shiftcast.workspace import find_workspace

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


LATER = {
    "ema": 0.99,
    "precision": "bfloat16",
    "mixup": 1.0,
    "cutmix": 1.0,
    "rand_augment": RandAugmentSpec(operations=2, magnitude=9),
    "sam": 0.05,
    "early_stop": 0.5,
    "train_share": 0.5,
    "label_noise": 0.5,
    "train_half": "first",
    "seeds_of": "plain-8",
}


def test_a_recipe_may_fix_the_precision(tmp_path):
    card = read_card(ArchitectureCard, write(tmp_path, CARD))
    recipe = read_card(Recipe, write(tmp_path, RECIPE))
    assert recipe.fitted(card) == card
    assert recipe.model_copy(update={"precision": "bfloat16"}).fitted(card).precision == "bfloat16"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mixup = 0.0", "mixup: Input should be greater than 0"),
        ("mixup = inf", "mixup: Input should be a finite number"),
        ("cutmix = -1.0", "cutmix: Input should be greater than 0"),
        ("sam = 0.0", "sam: Input should be greater than 0"),
        ("label_noise = 0.0", "label_noise: Input should be greater than 0"),
        ("label_noise = 1.1", "label_noise: Input should be less than or equal to 1"),
        ("train_share = 0.0", "train_share: Input should be greater than 0"),
        ("train_share = 1.5", "train_share: Input should be less than or equal to 1"),
        ("early_stop = 0.0", "early_stop: Input should be greater than 0"),
        ("early_stop = 1.0", "early_stop: Input should be less than 1"),
        ("early_stop = 0.1", "early_stop = 0.1 of 3 epochs ends after 0: expected .* after 1 to 2 of them"),
        ("early_stop = 0.9", "early_stop = 0.9 of 3 epochs ends after 3: expected .* after 1 to 2 of them"),
        ("rand_augment = { operations = 2 }", r"rand_augment\.magnitude: Field required"),
        ("rand_augment = { operations = 0, magnitude = 9 }", r"rand_augment\.operations: .*greater than or"),
        ("rand_augment = { operations = 2, magnitude = 31 }", r"rand_augment\.magnitude: .*equal to 30"),
        ("rate_factor = 0.0", "rate_factor: Input should be greater than 0"),
        ('rate_of = "thing"', "rate_of names this recipe itself"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(tmp_path, line, message):
    with pytest.raises(CardError, match=rf"thing\.toml: is not a valid Recipe: .*{message}"):
        read_card(Recipe, write(tmp_path, RECIPE + line))


def test_mixup_cutmix_and_sam_may_meet(tmp_path):
    recipe = read_card(Recipe, write(tmp_path, RECIPE + "mixup = 0.2\ncutmix = 1.0\nsam = 0.05\n"))
    assert (recipe.mixup, recipe.cutmix, recipe.sam) == (0.2, 1.0, 0.05)


def test_an_early_stop_is_to_whole_epochs(tmp_path):
    recipe = read_card(Recipe, write(tmp_path, RECIPE + "early_stop = 0.6"))
    assert recipe.epochs_run == 2
    assert recipe.model_copy(update={"early_stop": None}).epochs_run == 3
    assert recipe.model_copy(update={"epochs": 1, "early_stop": 0.1}).epochs_run == 1


def test_a_recipe_may_take_the_rates_that_were_tuned_for_another(tmp_path):
    card = read_card(ArchitectureCard, write(tmp_path, CARD))
    bare = card.model_copy(update={"train": {}})
    alike = read_card(Recipe, write(tmp_path, RECIPE + 'rate_of = "fast"\n', "alike.toml"))
    higher = read_card(
        Recipe, write(tmp_path, RECIPE + 'rate_of = "fast"\nrate_factor = 4.0\n', "higher.toml")
    )
    plain = read_card(Recipe, write(tmp_path, RECIPE, "alike.toml"))
    assert alike.resolved(card) == plain.model_copy(update={"learning_rate": 0.5})
    assert alike.resolved(bare) == plain
    assert [higher.resolved(one).learning_rate for one in (card, bare)] == [2.0, 0.4]
    assert higher.resolved(card).resolved(card) == higher.resolved(card)
    own = read_card(ArchitectureCard, write(tmp_path, CARD + "[train.higher]\nlearning_rate = 0.7\n"))
    assert higher.resolved(own).learning_rate == 0.7
    decay = read_card(ArchitectureCard, write(tmp_path, CARD + "[train.higher]\nweight_decay = 0.7\n"))
    assert higher.resolved(decay).learning_rate == 2.0
    assert higher.resolved(decay).weight_decay == 0.7


UNLIKE_PLAIN = {
    "no-augmentation-8": {"crop_padding": 0, "flip": False},
    "label-smoothing-01-8": {"label_smoothing": 0.1},
    "label-smoothing-03-8": {"label_smoothing": 0.3},
    "mixup-8": {"mixup": 1.0},
    "cutmix-8": {"cutmix": 1.0},
    "rand-augment-8": {"rand_augment": {"operations": 2, "magnitude": 9}},
    "sam-8": {"sam": 0.05},
    "high-rate-8": {"rate_factor": 4.0},
    "low-rate-8": {"rate_factor": 0.25},
    "high-decay-8": {"weight_decay": 0.5},
    "no-decay-8": {"weight_decay": 0.0},
    "early-stop-8": {"early_stop": 0.5},
    "half-data-8": {"train_share": 0.5},
    "tenth-data-8": {"train_share": 0.1},
    "random-labels-8": {"label_noise": 1.0},
    "label-noise-40-8": {"label_noise": 0.4},
    "first-half-8": {"train_half": "first"},
    "second-half-8": {"train_half": "second"},
    **{f"snapshot-{k}-8": {"early_stop": k / 8, "seeds_of": "plain-8"} for k in range(2, 8)},
}


def test_the_recipes_like_plain_8_differ_in_what_they_say():
    recipes = find_workspace().recipes
    plain = recipes["plain-8"].model_dump()
    trained = {name: recipe for name, recipe in recipes.items() if isinstance(recipe, Recipe)}
    alike = {name: recipe for name, recipe in trained.items() if recipe.rate_of == "plain-8"}
    assert alike.keys() == UNLIKE_PLAIN.keys()
    for name, recipe in alike.items():
        assert recipe.title.startswith("Like plain-8, but "), name
        assert recipe.model_dump() == plain | UNLIKE_PLAIN[name] | {
            "name": name,
            "title": recipe.title,
            "rate_of": "plain-8",
        }


def test_targets_unfold_by_transform_and_severity():
    targets = suite().unfolded_targets()
    assert [t.id for t in targets] == ["natural", "made/fog-1", "made/fog-5", "made/snow-1", "made/snow-5"]
    assert [t.group for t in targets] == ["natural", "fog", "fog", "snow", "snow"]
    assert [t.derived for t in targets] == [False, True, True, True, True]


def studied(*architectures, seed):
    members = [{"architectures": list(architectures), "recipe": "r", "seeds": [seed]}]
    return {"name": "e", "title": "E", "members": members}


def test_runs_stand_architecture_by_architecture():
    assert [str(k) for k in suite().scored_runs()] == ["a/r/seed-0", "a/r/seed-1", "b/r/seed-0", "b/r/seed-1"]
    assert [str(k) for k in suite().reference_runs()] == ["c/r/seed-100", "d/r/seed-100", "e/r/seed-100"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": {"members": ["c", "d"], "recipe": "r"}}, "at least 3 members"),
        ({"reference": {"members": ["c", "d", "e"], "reserves": ["c"], "recipe": "r"}}, "listed twice"),
        ({"reference": {"members": ["a", "d", "e"], "recipe": "r", "seed": 1}}, "also a scored run"),
        ({"runs": [{"architectures": ["a", "a"], "recipe": "r", "seeds": [0]}]}, "listed twice"),
        ({"targets": [{"dataset": "x"}, {"dataset": "x"}]}, "same target is listed twice"),
        ({"ensembles": [studied("a", seed=0), studied("a", seed=0)]}, "ensembles: the same name"),
        ({"ensembles": [studied("a", seed=9)]}, "ensembles.0.members: a/r/seed-9 is not a run of this suite"),
        ({"ensembles": [studied("c", seed=100)]}, "ensembles.0.members: expected at least 2 runs"),
        ({"ensembles": [studied("a", "a", seed=0)]}, "ensembles.0.members: expected at least 2 runs, each"),
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
        ('without_classes = ["cow"]', "'cow' is not a class"),
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
