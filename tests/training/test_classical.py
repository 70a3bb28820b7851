"""Models that are no networks: fitted on pixels, in the same engine, refused where only networks fit."""

import math

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from shiftcast.board.assemble import score_suite
from shiftcast.cards.architecture import ClassicalCard, card_hash
from shiftcast.cards.base import read_card
from shiftcast.cards.suite import RunKey
from shiftcast.engines.contract import Options
from shiftcast.engines.local import run_suite
from shiftcast.errors import CardError, InvalidInputError, TrainingError
from shiftcast.estimators import official_estimators
from shiftcast.runs.folder import RunFolder
from shiftcast.training.classical import FLOOR, Classical
from shiftcast.training.inference import classifier
from shiftcast.training.job import plan_job
from shiftcast.workspace import Workspace, find_workspace

CONTROLS = [card for card in find_workspace().architectures.values() if isinstance(card, ClassicalCard)]
STATISTICS = ((128.0,) * 3, (64.0,) * 3)

SUITE_RUNS = """
[[runs]]
architectures = ["knn_pca64"]
recipe = "fit"
seeds = [0]
"""


def images_of(labels, seed):
    """Each class has a grey level of its own, under much noise."""
    random = np.random.RandomState(seed)
    levels = 60.0 + 40.0 * labels[:, None, None, None]
    return (levels + random.normal(0, 30, (len(labels), 8, 8, 3))).clip(0, 255).astype(np.uint8)


LABELS = np.arange(200) % 4
IMAGES = images_of(LABELS, 0)
TEST = images_of(np.arange(60) % 4, 1)


def small(card, **changes):
    return card.model_copy(
        update={"components": card.components and 8, "features": card.features and 64, **changes}
    )


def fitted(card, seed=0, labels=LABELS, threads=1):
    return Classical(small(card), 4, *STATISTICS, seed, threads).fit(IMAGES, labels)


def test_there_are_three_kinds():
    assert {card.sklearn for card in CONTROLS} == {"k-nearest-neighbours", "random-forest", "random-features"}
    assert len({card_hash(card) for card in CONTROLS}) == len(CONTROLS)


@pytest.mark.parametrize("card", CONTROLS, ids=lambda card: card.name)
def test_they_learn_and_give_log_probabilities(card):
    logits = fitted(card).logits(TEST)
    assert logits.shape == (60, 4)
    assert (logits.argmax(axis=1) == np.arange(60) % 4).mean() > 0.8
    assert logits.min() >= math.log(FLOOR)
    assert np.exp(logits).sum(axis=1) == pytest.approx(np.ones(60), abs=4 * FLOOR)
    assert np.array_equal(logits, fitted(card).logits(TEST))


@pytest.mark.parametrize("card", CONTROLS, ids=lambda card: card.name)
def test_only_what_is_random_depends_on_the_seed(card):
    same = np.allclose(fitted(card).logits(TEST), fitted(card, seed=1).logits(TEST), atol=1e-6)
    assert same == (card.sklearn == "k-nearest-neighbours")


def test_neighbours_are_those_of_scikit_learn():
    card = ClassicalCard(
        name="knn",
        sklearn="k-nearest-neighbours",
        family="f",
        title="",
        citation="",
        kwargs={"n_neighbors": 5},
    )
    pixels, test = ((images.reshape(len(images), -1) - 128.0) / 64.0 for images in (IMAGES, TEST))
    expected = KNeighborsClassifier(5).fit(pixels, LABELS).predict_proba(test)
    logits = fitted(card).logits(TEST)
    assert np.exp(logits) == pytest.approx(np.maximum(expected, FLOOR))


def test_classes_that_were_not_fitted_have_the_least_probability():
    card = CONTROLS[0]
    logits = fitted(card, labels=np.where(LABELS == 2, 1, LABELS)).logits(TEST)
    assert np.all(logits[:, 2] == math.log(FLOOR))


def test_many_images_are_classified_as_few_are(monkeypatch):
    model = fitted(CONTROLS[0])
    whole = model.logits(TEST)
    monkeypatch.setattr("shiftcast.training.classical.AT_ONCE", 7)
    assert model.logits(TEST) == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"neighbours": 3}, "unexpected keyword argument 'neighbours'"),
        ({"n_neighbors": -1}, "n_neighbors.*-1"),
    ],
)
def test_arguments_that_scikit_learn_refuses_are_named(kwargs, message):
    card = next(card for card in CONTROLS if card.sklearn == "k-nearest-neighbours")
    with pytest.raises(CardError, match=rf"architectures/{card.name}\.toml: scikit-learn's k-nea.*{message}"):
        fitted(card.model_copy(update={"kwargs": kwargs}))


def test_random_features_belong_to_one_kind(tmp_path):
    text = 'sklearn = "random-forest"\nfamily = "f"\ntitle = ""\ncitation = ""\nfeatures = 9\n'
    (tmp_path / "thing.toml").write_text(text)
    with pytest.raises(CardError, match='features belongs to sklearn = "random-features"'):
        read_card(ClassicalCard, tmp_path / "thing.toml")


# Through the engine


@pytest.fixture
def workspace(workspace):
    """Suite `tiny` with a model that is no network."""
    path = workspace.root / "benchmark/suites/tiny.toml"
    text = path.read_text()
    path.write_text(text.replace("[reference]", SUITE_RUNS + "\n[reference]"))
    (workspace.root / "benchmark/recipes/fit.toml").write_text('title = "In one go"\nkind = "fit"\n')
    return Workspace(workspace.root, workspace.root)


class Quiet:
    """A reporter that keeps the notes."""

    def __init__(self):
        self.notes = []

    def __getattr__(self, name):
        return lambda *arguments, **named: None

    def note(self, text):
        self.notes.append(text)


KEY = RunKey(architecture="knn_pca64", recipe="fit", seed=0)


def run(workspace, results, **options):
    reporter = Quiet()
    options = Options(device="cpu", threads=1, only=("knn_pca64",), **options)
    return run_suite(workspace, workspace.suite("tiny"), results, options, reporter), reporter.notes


def test_a_suite_may_hold_them(workspace, make_results):
    results = make_results(skip=(str(KEY),))
    summary, _ = run(workspace, results)
    assert summary.done == [KEY]
    record, sets = RunFolder(results / "tiny" / KEY.path).read()
    assert (record.epochs, record.parameters, record.precision) == ([], 0, "float32")
    assert {"scikit-learn", "scipy"} <= set(record.packages)
    assert record.recipe.kind == "fit"
    assert record.targets.keys() == sets.keys() == record.feature_scores.keys()
    assert record.targets["digits-test"].accuracy > 0.8
    assert run(workspace, results)[0].kept == [KEY]
    assert run(workspace, results, checkpoints=True)[0].kept == [KEY]  # there is none to be made
    scores = score_suite(workspace, workspace.suite("tiny"), results, estimators=official_estimators())
    own = scores.table[scores.table.architecture == KEY.architecture]
    assert {"ConfusionPartition", "ALine-D", "COT"} <= set(own.estimator)
    assert not {"Dispersion", "GDE"} & set(own.estimator)
    reasons = scores.skipped[scores.skipped["estimator"] == "Dispersion"]["reason"]
    assert any("the model has no features" in reason for reason in reasons)
    row = scores.runs.set_index("architecture").loc[KEY.architecture]
    assert row.status == "ok"
    assert row[["parameters", "epochs"]].isna().all()


def test_the_same_command_gives_the_same_bytes(workspace, tmp_path):
    for name in ("one", "two"):
        run(workspace, tmp_path / name)
    one, two = (RunFolder(tmp_path / name / "tiny" / KEY.path) for name in ("one", "two"))
    assert one.read_record().equal(two.read_record())
    assert one.predictions_path.read_bytes() == two.predictions_path.read_bytes()


def test_noise_in_the_labels_reaches_them(workspace, tmp_path):
    (workspace.root / "benchmark/recipes/fit.toml").write_text(
        'title = "Nothing to learn"\nkind = "fit"\nlabel_noise = 1.0\n'
    )
    workspace = Workspace(workspace.root, workspace.root)
    run(workspace, tmp_path)
    record = RunFolder(tmp_path / "tiny" / KEY.path).read_record()
    assert record.targets["digits-test"].accuracy < 0.35


def test_there_is_no_checkpoint_of_them(workspace, tiny_data):
    job = plan_job(workspace, workspace.suite("tiny"), KEY, "scored", tiny_data, "cpu", 1)
    with pytest.raises(TrainingError, match=r"knn_pca64/fit/seed-0: .*no checkpoint is kept"):
        classifier(job)


@pytest.mark.parametrize(
    ("recipe", "architecture", "message"),
    [
        (
            "tiny",
            "knn_pca64",
            "recipe 'tiny' trains networks, and 'knn_pca64' is a classifier",
        ),
        (
            "fit",
            "test_resnet",
            "recipe 'fit' fits classifiers of .*, and 'test_resnet' is a network",
        ),
    ],
)
def test_recipes_for_other_models_are_refused_with_the_suite(workspace, recipe, architecture, message):
    path = workspace.root / "benchmark/suites/tiny.toml"
    more = SUITE_RUNS.replace("knn_pca64", architecture).replace('"fit"', f'"{recipe}"').replace("[0]", "[7]")
    path.write_text(path.read_text().replace("[reference]", more + "\n[reference]"))
    with pytest.raises(CardError, match=rf"tiny\.toml: {message}"):
        Workspace(workspace.root, workspace.root).suite("tiny")


def test_only_networks_are_tuned_timed_and_built(workspace):
    with pytest.raises(InvalidInputError, match="'knn_pca64' is a classifier of scikit-learn; expected a"):
        workspace.network("knn_pca64")
    with pytest.raises(CardError, match="recipe 'fit' fits classifiers"):
        workspace.training("test_resnet", "fit")
