"""Tasks with a known answer, on which the leading answer of `shiftcast estimate` is chosen and validated.

Real: scikit-learn's data sets, pairs of digits, docstrings of installed packages, and the stored runs of the
board, also as two classes and as pairs of images. Simulated: Gaussian classes. Siblings share a family, and a
family is in one half: one data set under one kind of shift, whatever the classifier; one target set of the
board, whatever the network. Blind sets are not read.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy.special import logsumexp
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from shiftcast.predictions import Predictions
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.outputs import StoredSet
from shiftcast.util.arrays import softmax
from shiftcast.workspace import find_workspace

ROOT = Path(__file__).parents[2]
SEED = "halves of families"
Pair = tuple[Predictions, Predictions]


@dataclass(frozen=True)
class Task:
    """A task: its name, family, kind and shift, how source and labelled target are made, and its size.

    `cost` is the number of outputs where these may be many.
    """

    name: str
    family: str
    kind: str
    shift: str
    make: Callable[[], Pair]
    cost: int = 0


def halves(tasks: list[Task]) -> dict[str, str]:
    """Return the half of each family, "chosen" or "reported".

    Families of one kind and shift are put in the order of a seeded hash and dealt in turn.
    """
    dealt: dict[tuple[str, str], list[str]] = {}
    for task in tasks:
        families = dealt.setdefault((task.kind.split()[0], task.shift), [])
        if task.family not in families:
            families.append(task.family)
    found = {}
    for group, families in dealt.items():
        first = _seed(SEED, *group) % 2
        for place, family in enumerate(sorted(families, key=lambda name: _seed(SEED, name))):
            found[family] = ("chosen", "reported")[(first + place) % 2]
    return found


def all_tasks() -> list[Task]:
    """Return every task, in order."""
    return [*tables(), *pairs_of_digits(), *texts(), *board(), *simulated()]


# scikit-learn's data sets

CLASSIFIERS = {
    "logistic": lambda seed: make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),  # noqa: ARG005
    "forest": lambda seed: RandomForestClassifier(60, random_state=seed),
    "bayes": lambda seed: GaussianNB(var_smoothing=1e-6),  # noqa: ARG005
    "mlp": lambda seed: make_pipeline(
        StandardScaler(), MLPClassifier((32,), max_iter=150, random_state=seed)
    ),
}
NOISE = (0.15, 1.2)
"""Least and most noise, in standard deviations of a column."""
SHIFTS = ("none", "noise", "scale", "missing", "subgroup", "label", "label-noise")


@cache
def _table(name: str) -> tuple[np.ndarray, np.ndarray]:
    if name == "diabetes":
        data = load_diabetes()
        return data.data, (data.target > np.median(data.target)).astype(int)
    if name in ("parity", "third-digits"):
        data = load_digits()
        return data.data, data.target % (2 if name == "parity" else 3)
    loaders = {
        "breast-cancer": load_breast_cancer,
        "wine": load_wine,
        "iris": load_iris,
        "digits": load_digits,
    }
    data = loaders[name]()
    return data.data, data.target


def tables() -> Iterator[Task]:
    """Yield small tables under every shift with two or more classifiers."""
    for name in ("breast-cancer", "wine", "iris", "digits", "diabetes", "parity", "third-digits"):
        for shift in SHIFTS:
            for number, classifier in enumerate(CLASSIFIERS):
                if name in ("iris", "wine", "third-digits") and number % 2 == (len(shift) % 2):
                    continue
                family = f"{name} {shift}"
                make = partial(_of_table, name, shift, classifier)
                yield Task(f"{family} {classifier}", family, "table", shift, make)


def _of_table(name: str, shift: str, classifier: str) -> Pair:
    x, y = _table(name)
    random = np.random.RandomState(_seed(name, shift))
    order = random.permutation(len(x))
    if shift == "subgroup":  # the target lies where the first principal axis is high
        centred = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9)
        score = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
        order = order[np.argsort(score[order] + score.std() * random.normal(size=len(x)), kind="stable")]
    first, second = int(0.35 * len(x)), int(0.65 * len(x))
    if shift == "subgroup":
        near = random.permutation(order[:second])
        parts = near[:first], near[first:], order[second:]
    else:
        parts = order[:first], order[first:second], order[second:]
    train, source, target = parts
    model = CLASSIFIERS[classifier](0).fit(x[train], y[train])
    if shift.startswith("label"):
        weights = random.dirichlet(np.full(y.max() + 1, 0.7))[y[target]]
        target = random.choice(target, size=len(target), p=weights / weights.sum())
    moved = x[target].astype(float)
    spread = x[train].std(axis=0)
    if shift in ("noise", "label-noise"):
        moved = moved + np.exp(random.uniform(*np.log(NOISE))) * spread * random.normal(size=moved.shape)
    elif shift == "scale":
        middle = x[train].mean(axis=0)
        moved = middle + random.uniform(0.6, 1.0) * (moved - middle) + random.uniform(0, 0.2) * spread
    elif shift == "missing":
        moved = np.where(
            random.uniform(size=moved.shape) < random.uniform(0.05, 0.4), x[train].mean(axis=0), moved
        )
    classes = y.max() + 1
    return _predicted(model, x[source], y[source], classes), _predicted(model, moved, y[target], classes)


def _predicted(model: object, x: np.ndarray, y: np.ndarray, classes: int) -> Predictions:
    probabilities = np.zeros((len(x), classes))
    probabilities[:, model.classes_] = model.predict_proba(x)  # type: ignore[attr-defined]
    return Predictions("set", probabilities, "probabilities", labels=y)


def pairs_of_digits() -> Iterator[Task]:
    """Yield a hundred classes: two digits side by side."""
    for shift in ("none", "noise", "label", "missing", "few"):
        for classifier in ("logistic", "forest"):
            family = f"digit-pairs {shift}"
            yield Task(
                f"{family} {classifier}", family, "100 classes", shift, partial(_pair, shift, classifier)
            )


def _pair(shift: str, classifier: str) -> Pair:
    x, y = _table("digits")
    random = np.random.RandomState(_seed("pairs", shift))
    halves = np.array_split(random.permutation(len(x)), 2)
    weights = random.dirichlet(np.full(10, 1.0), size=2)

    def drawn(images: np.ndarray, n: int, shares: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        sides = []
        for side in range(2):
            p = None if shares is None else shares[side][y[images]] / shares[side][y[images]].sum()
            sides.append(random.choice(images, size=n, p=p))
        return np.hstack([x[sides[0]], x[sides[1]]]), 10 * y[sides[0]] + y[sides[1]]

    train = drawn(halves[0][::2], 4000)
    model = (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=60))
        if classifier == "logistic"
        else RandomForestClassifier(40, random_state=0)
    ).fit(*train)
    sizes = (400, 300) if shift == "few" else (1500, 1200)
    source = drawn(halves[0][1::2], sizes[0])
    target_x, target_y = drawn(halves[1], sizes[1], weights if shift == "label" else None)
    if shift == "noise":
        target_x = target_x + 3.0 * random.normal(size=target_x.shape)
    if shift == "missing":
        target_x = np.where(random.uniform(size=target_x.shape) < 0.25, 0, target_x)
    return _predicted(model, *source, 100), _predicted(model, target_x, target_y, 100)


# Docstrings: which package is a sentence from?

PACKAGES = ("numpy", "scipy", "sklearn", "pandas", "matplotlib", "skimage", "networkx", "sympy")


@cache
def _docstrings() -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return texts, the number of their package, and of the folder in it."""
    found: list[tuple[str, int, int]] = []
    for number, package in enumerate(PACKAGES):
        spec = find_spec(package)
        root = Path(str(spec.origin)).parent if spec else Path()
        folders: dict[str, int] = {}
        files = [path for path in sorted(root.rglob("*.py")) if "tests" not in path.parts][:220]
        for path in files:
            folder = folders.setdefault(str(path.relative_to(root).parent), len(folders))
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            texts = [ast.get_docstring(node) for node in nodes if isinstance(node, ast.FunctionDef)]
            found += [(" ".join(text.split()[:40]), number, folder) for text in texts if text]
    return [one[0] for one in found], np.array([one[1] for one in found]), np.array([one[2] for one in found])


def texts() -> Iterator[Task]:
    """Yield docstrings of other folders of a package, shortened ones, and other shares of packages."""
    for shift in ("none", "folders", "short", "label", "folders-label"):
        for classifier in ("logistic", "bayes"):
            for classes in (3, 8):
                family = f"docstrings {shift} {classes}"
                make = partial(_text, shift, classifier, classes)
                yield Task(f"{family} {classifier}", family, "text", shift, make)


def _text(shift: str, classifier: str, classes: int) -> Pair:
    words, y, folder = _docstrings()
    random = np.random.RandomState(_seed("text", shift, classes))
    kept = random.permutation(np.flatnonzero(y < classes))
    other = folder[kept] % 3 == 0
    if "folders" in shift:
        inside, target = kept[~other], kept[other]
    else:
        inside, target = np.array_split(kept, [2 * len(kept) // 3])
    train, source = inside[:2500], inside[2500:4000]
    target = target[:1500]
    if "label" in shift:
        weights = random.dirichlet(np.full(classes, 1.0))[y[target]]
        target = random.choice(target, size=1200, p=weights / weights.sum())
    read = HashingVectorizer(n_features=2**13, alternate_sign=False)
    model = LogisticRegression(max_iter=200, C=10) if classifier == "logistic" else MultinomialNB(alpha=0.1)
    model.fit(read.transform([words[i] for i in train]), y[train])
    length = 6 if shift == "short" else 40
    outputs = [
        model.predict_proba(read.transform([" ".join(words[i].split()[:most]) for i in rows]))
        for rows, most in ((source, 40), (target, length))
    ]
    return (
        Predictions("set", outputs[0], "probabilities", labels=y[source]),
        Predictions("set", outputs[1], "probabilities", labels=y[target]),
    )


# The stored runs of the board

NATURAL = ("cinic10-imagenet", "emoji", "photo-web", "style-transfer", "cifar10-g")
CORRUPTED = ("gaussian_noise", "fog", "contrast", "jpeg_compression", "glass_blur", "brightness", "snow")
CORRUPTED_IN_VARIATIONS = ("gaussian_noise", "fog", "contrast", "jpeg_compression", "glass_blur")
RUNS = (
    "cifar10-cpu/resnet10_w64/cpu-long/seed-0",
    "cifar10-cpu/vit_w64_p8/plain-8/seed-0",
    "cifar10-cpu/mnasnet_small/plain-8/seed-0",
    "cifar10-cpu/convnext_w32/plain-8/seed-0",
    "variations-cpu/densenet38_k16/plain-8/seed-0",
    "cifar10-cpu/swin_w32_p4/plain-8/seed-0",
)
VEHICLES = np.array([0, 1, 8, 9])


def board() -> Iterator[Task]:
    """Yield networks on natural and corrupted sets, as they are, as two classes, and as pairs of images."""
    for number, run in enumerate(RUNS):
        stored = CORRUPTED if run.startswith("cifar10-cpu") else CORRUPTED_IN_VARIATIONS
        for name in (*NATURAL, *stored, "cifar10-test"):
            sets = [name] if name in (*NATURAL, "cifar10-test") else [f"cifar10-c-regenerated/{name}-3"]
            shift = "none" if name == "cifar10-test" else "natural" if name in NATURAL else "corruption"
            for form in ("ten", "two", "pairs", "mixed", "ensemble"):
                wanted = {
                    "ten": True,
                    "two": number in (0, 2, 4),
                    "pairs": number == 1,
                    "mixed": number in (1, 3),
                }
                ensemble = form == "ensemble" and number < 3 and run.startswith("cifar10-cpu")
                if wanted.get(form, ensemble):
                    family = f"board {name} {form if form in ('mixed', 'pairs') else ''}".strip()
                    make = partial(_stored, run, sets[0], form)
                    yield Task(f"board {name} {run} {form}", family, f"board {form}", shift, make)


@cache
def _run(run: str) -> dict[str, StoredSet]:
    return dict(RunFolder(ROOT / "results" / run).read()[1])


@cache
def _members() -> list[dict[str, StoredSet]]:
    suite = find_workspace(ROOT).suite("cifar10-cpu")
    one = suite.reference
    return [_run(f"cifar10-cpu/{name}/{one.recipe}/seed-{one.seed}") for name in one.members]


def _stored(run: str, name: str, form: str) -> Pair:
    random = np.random.RandomState(_seed(run, name, form))
    sets = _run(run)
    known, there = sets["cifar10-test"], sets[name]
    rows = random.permutation(len(known.logits))
    source, target = rows[:4000], random.permutation(len(there.logits))[:3000]
    if name == "cifar10-test":
        target = rows[4000:7000]
    elif name.startswith("cifar10-c"):  # made of test images: which, is not known, and only few are shared
        target = target[:1380]
    if form == "mixed":
        weights = random.dirichlet(np.full(10, 0.7))[np.asarray(there.labels)[target]]
        target = random.choice(target, size=min(len(target), 1500), p=weights / weights.sum())
    if form == "ensemble":
        return _with_members(run, name, source, target)
    outputs = []
    for own, index in ((known, source), (there, target)):
        logits, labels = own.logits[index].astype(np.float64), np.asarray(own.labels)[index]
        if form == "two":
            vehicles = np.isin(np.arange(10), VEHICLES)
            logits = np.stack([logsumexp(logits[:, side], axis=1) for side in (~vehicles, vehicles)], axis=1)
            labels = np.isin(labels, VEHICLES).astype(int)
        if form == "pairs":
            half = len(labels) // 2
            a, b = logits[:half], logits[half : 2 * half]
            logits = (a[:, :, None] + b[:, None, :]).reshape(half, 100)
            labels = 10 * labels[:half] + labels[half : 2 * half]
        outputs.append(Predictions("set", logits, "logits", labels=labels))
    return outputs[0], outputs[1]


def _with_members(run: str, name: str, source: np.ndarray, target: np.ndarray) -> Pair:
    sets, pair = _run(run), []
    for key, index in (("cifar10-test", source), (name, target)):
        members = np.stack([softmax(one[key].logits[index].astype(np.float64)) for one in _members()])
        own = sets[key]
        pair.append(
            Predictions(
                "set",
                own.logits[index].astype(np.float64),
                "logits",
                labels=own.labels[index],
                reference=members,
            )
        )
    return pair[0], pair[1]


# Gaussian classes

KINDS = ("none", "covariate", "contrast", "label", "both", "hidden")
LARGE, KINDS_OF_LARGE = 400_000, ("none", "covariate", "label")
"""Outputs (images times classes) above which tasks are few, for they take long."""
APART = 3.5
"""How much further apart classes are whose source has no errors."""
SIZES = {
    2: ((50, 50), (200, 1000), (1000, 1000), (5000, 5000), (1000, 100_000)),
    3: ((100, 300), (2000, 2000)),
    10: ((200, 100), (1000, 5000), (5000, 2000), (50_000, 20_000)),
    30: ((500, 500), (3000, 3000)),
    100: ((1000, 500), (3000, 3000)),
    1000: ((3000, 2000),),
}


def simulated() -> Iterator[Task]:
    """Yield Gaussian classes whose true posteriors are known, stated at one of three temperatures."""
    number = 0
    for classes, sizes in SIZES.items():
        for n, m in sizes:
            for shift in KINDS if max(n, m) * classes < LARGE else KINDS_OF_LARGE:
                number += 1
                sharpness = (1.0, 2.5, 0.4)[number % 3]
                family = f"gaussian {classes} {shift} {n} {m}"
                make = partial(_gaussian, classes, n, m, shift, sharpness)
                yield Task(f"{family} x{sharpness}", family, "simulated", shift, make, max(n, m) * classes)
    for classes in (2, 5, 10):
        for n in (60, 150, 600):
            for shift in KINDS:
                family = f"separable {classes} {shift} {n}"
                make = partial(_gaussian, classes, n, 400, shift, 1.0, APART)
                yield Task(family, family, "separable", shift, make)


def _gaussian(classes: int, n: int, m: int, shift: str, sharpness: float, apart: float = 1.0) -> Pair:
    random = np.random.RandomState(_seed("gaussian", classes, n, m, shift))
    width = min(max(classes, 4), 40)
    means = random.normal(size=(classes, width))
    means *= random.uniform(1.5, 4.0) / np.sqrt(width) * np.sqrt(max(1.0, 1.5 * np.log10(classes)))
    means *= apart
    shares = random.dirichlet(np.full(classes, 5.0))
    there = random.dirichlet(np.full(classes, 0.7)) if shift in ("label", "both") else shares
    if shift in ("label", "both"):
        there = 0.9 * there + 0.1 / classes
    outputs = []
    for place, (count, own) in enumerate(((n, shares), (m, there))):
        labels = random.choice(classes, size=count, p=own)
        x = means[labels] + random.normal(size=(count, width))
        if place and shift in ("covariate", "both"):
            x += apart * np.exp(random.uniform(*np.log(NOISE))) * random.normal(size=x.shape)
        if place and shift == "contrast":
            x = random.uniform(0.5, 1.0) * x + random.uniform(0, 0.3) * random.normal(size=width)
        if place and shift == "hidden":
            wrong = random.uniform(size=count) < random.uniform(0.02, 0.2)
            labels = np.where(wrong, random.choice(classes, size=count), labels)
        logits = x @ means.T - (means**2).sum(axis=1) / 2 + np.log(shares)
        outputs.append(Predictions("set", sharpness * logits, "logits", labels=labels))
    return outputs[0], outputs[1]


def _seed(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(" ".join(map(str, parts)).encode()).digest()[:4], "big")
