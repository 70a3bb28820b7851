"""A made-up zoo with natural sets, clusters and corruptions; no image and no file stands behind it."""

from types import SimpleNamespace

import numpy as np
import pytest

from shiftcast.board.confusion import official_predictions
from shiftcast.cards.suite import RunKey, Suite
from shiftcast.data.sampling import base_index
from shiftcast.estimators import official_estimators
from shiftcast.runs.outputs import StoredSet, store_logits
from shiftcast.runs.suite_runs import Pool, StoredRun
from shiftcast.scoring.rows import score_pool
from shiftcast.workspace import Workspace
from support import REPOSITORY

SIZES = {"cifar10-test": 1000, "cinic10-imagenet": 600, "emoji": 300, "blind-a": 200}
SHIFTS = {"cifar10-test": 0.0, "cinic10-imagenet": 0.35, "emoji": 0.8, "blind-a": 0.3}
SCORED = ("test_resnet", "test_vit", "test_convnext", "test_efficientnet", "test_nfnet")
MEMBERS = ("fasternet_t0", "edgenext_xx_small", "lcnet_050", "test_byobnet", "regnetx_002", "starnet_s050")


def make_suite(
    members=MEMBERS, scored=SCORED, targets=("cinic10-imagenet", "emoji", "blind-a"), runs=(), ensembles=()
):
    """A suite over the repository's cards."""
    return Suite.model_validate(
        {
            "name": "world",
            "version": 1,
            "title": "World",
            "description": "Made up.",
            "source": {"train": "cifar10-train", "test": "cifar10-test"},
            "targets": [
                *({"dataset": name, "level": "optional"} for name in targets),
                {
                    "dataset": "cifar10-c-regenerated",
                    "transforms": ["contrast", "gaussian_noise"],
                    "severities": [1, 5],
                    "images": 400,
                },
            ],
            "runs": [{"architectures": list(scored), "recipe": "smoke", "seeds": [0, 1]}, *runs],
            "ensembles": list(ensembles),
            "reference": {"members": list(members), "reserves": ["ghostnet_050"], "recipe": "smoke"},
        }
    )


class World:
    """Images with labels and a difficulty that all models share."""

    def __init__(self, suite, workspace):
        self.suite, self.workspace = suite, workspace
        self.labels = {name: np.random.RandomState(3).randint(0, 10, n) for name, n in SIZES.items()}
        self.pool = Pool(workspace, suite)
        for number, key in enumerate(suite.scored_runs()):
            self.pool.scored.append(self.run(key, number, 2.0 + 0.5 * (number // 2)))
        for number, key in enumerate(suite.reference_runs()):
            self.pool.reference[key.architecture] = self.run(key, 100 + number, 3.0)

    def run(self, key: RunKey, number: int, skill: float) -> StoredRun:
        family = self.workspace.architecture(key.architecture).family
        record = SimpleNamespace(feature_scores={}, predictions_sha256=f"{number:064x}")
        sets = {name: self.outputs(name, number, skill, SHIFTS[name]) for name in SIZES}
        for target in self.suite.unfolded_targets():
            if target.derived:
                shift = 0.1 * target.severity
                sets[target.id] = self.outputs(
                    "cifar10-test", number, skill, shift, self.base(target), target.id
                )
        return StoredRun(key, family, record, sets)

    def base(self, target):
        return base_index(target, self.labels["cifar10-test"], self.suite.source.seed)

    def outputs(self, name, number, skill, shift, index=None, seed=""):
        """Logits: shared noise, own noise, and a margin for the true class that shrinks with difficulty."""
        labels = self.labels[name]
        shared = np.random.RandomState(len(name) + 17)
        hardness = shared.uniform(0, 1, len(labels)) ** 2 + shift
        noise = shared.normal(size=(len(labels), 10))
        own = np.random.RandomState(number * 31 + len(seed) + len(name)).normal(size=(len(labels), 10))
        logits = own + noise * (0.5 + hardness[:, None])
        logits[np.arange(len(labels)), labels] += skill * np.maximum(1.6 - hardness, 0)
        if index is not None:
            logits, labels = logits[index], labels[index]
        stored = store_logits(name, logits, None if name.startswith("blind") else labels)
        clusters = np.arange(len(labels)) // 5 if name == "emoji" else None
        return StoredSet(stored.logits, stored.true_rank, clusters)


@pytest.fixture(scope="session")
def registry():
    """The repository's own cards."""
    root = REPOSITORY
    return Workspace(root, root)


@pytest.fixture(scope="session")
def make_world(registry):
    """Build a zoo of the given architectures, members and targets."""
    return lambda **options: World(make_suite(**options), registry)


@pytest.fixture(scope="session")
def world(make_world):
    """A complete zoo of ten scored runs and six members."""
    return make_world()


@pytest.fixture(scope="session")
def table(world):
    """The tidy table of predictions of the made-up zoo."""
    return score_pool(world.pool, official_estimators())[0]


@pytest.fixture(scope="session")
def predicted(world, table):
    """Official predictions of every run of the made-up zoo, by estimator and target."""
    return official_predictions(world.pool, table)
