"""Conformance of estimators, for ours and for those of other packages; synthetic predictions to try.

    check_estimator(MyEstimator())

Every property that fails is an `AssertionError` whose sentence names it. How *good* an estimator
is stays open: that is for the board.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from shiftcast.errors import BrokenEstimatorError, InvalidInputError, RequirementError, with_line
from shiftcast.estimators.base import Estimator, declaration_problem
from shiftcast.predictions import Estimate, Predictions
from shiftcast.util.arrays import softmax
from shiftcast.util.types import Classes, Floats, Integers

__all__ = ["check_estimator", "make_predictions"]

TOLERANCE = 2e-6
"""Estimates are rounded to 1e-6; a last bit may push one over the edge of a rounding step."""
_GRID = 2.0**20
"""Synthetic logits are multiples of 2^-20, so adding an integer to them is exact."""


def make_predictions(
    n: int = 300,
    classes: int = 10,
    *,
    seed: int = 0,
    shift: float = 0.0,
    name: str = "synthetic",
    group: str = "",
    members: int = 5,
    peers: int = 6,
    siblings: int = 2,
    skill: float = 1.0,
) -> Predictions:
    """Return labelled synthetic predictions with a reference ensemble, peers, siblings and features.

    All models see the same images: each image speaks for its own class, with strength
    2.5 - `shift`, and to a random degree for one other class. Each model adds noise of its own;
    peers differ in their skill.

    Parameters
    ----------
    n, classes
        Images and classes.
    seed
        Seed of everything random.
    shift
        How much less the images speak for their class; 0 for a source.
    name, group
        As in `Predictions`.
    members, peers, siblings
        Number of models of each sort; 0 leaves the input out.
    skill
        Factor on what the scored model sees of the images.
    """
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    rival = (labels + random.integers(1, classes, n)) % classes
    evidence = (2.5 - shift) * np.eye(classes)[labels]
    evidence[np.arange(n), rival] += random.exponential(1.5, n)

    def logits(count: int, skills: Floats | float = 1.0) -> Floats:
        noise = random.normal(size=(count, n, classes))
        outputs = np.reshape(skills, (-1, 1, 1)) * 2 * evidence + noise
        return np.asarray(np.round(outputs * _GRID) / _GRID, dtype=np.float64)

    def predicted(count: int, skills: Floats | float = 1.0) -> Integers | None:
        return np.argmax(logits(count, skills), axis=2).astype(np.int64) if count else None

    own = logits(1, skill)[0]
    return Predictions(
        name,
        own,
        group=group,
        labels=labels,
        reference=softmax(logits(members)) if members else None,
        peers=predicted(peers, np.linspace(0.3, 1.5, peers)) if peers else None,
        siblings=predicted(siblings, skill),
        features=np.tanh(own @ random.normal(size=(classes, 8)) / 4),
        signals=_signals(own, random),
    )


def _signals(logits: Floats, random: np.random.Generator) -> dict[str, Floats]:
    """Return signals of images (n,): deep, late and unsteady where the largest logit leads by little."""
    top = np.sort(logits, axis=1)
    doubt = 1 / (1 + np.exp(top[:, -1] - top[:, -2] - 1.5))
    noisy = np.clip(doubt + random.normal(scale=0.1, size=(4, len(logits))), 0, 1)
    return {
        "depth": np.round(6 * noisy[0]) / 6,
        "learned_epoch": np.round(16 * noisy[1]) / 16,
        "views": np.round(8 * (1 - noisy[2])) / 8,
        "view_probability": 1 - noisy[3],
    }


def check_estimator(estimator: Estimator) -> None:
    """Hold an estimator against the contract and the properties every estimator must have.

    Parameters
    ----------
    estimator
        An instance; it is cloned for every check and left as it is.

    Raises
    ------
    AssertionError
        Naming the first property that does not hold.
    """
    name = estimator.__name__ if isinstance(estimator, type) else type(estimator).__name__
    for sentence, check in _CHECKS.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                check(estimator)
        except AssertionError as failure:
            raise AssertionError(f"{name}: {failure}") from failure
        except BrokenEstimatorError as error:
            raise AssertionError(str(error)) from error
        except Exception as error:
            if isinstance(error, ValueError) and "read-only" in str(error):
                sentence = "Fit and predict leave their inputs as they were"
            raise AssertionError(
                f"{name}: {with_line(error)} was raised where this should hold: {sentence}"
            ) from error


@dataclass(frozen=True)
class _Case:
    """A source, a target and labelled others on which to try an estimator."""

    source: Predictions
    target: Predictions
    others: tuple[Predictions, ...]

    def everywhere(self, change: Callable[[Predictions], Predictions]) -> _Case:
        return _Case(change(self.source), change(self.target), tuple(change(other) for other in self.others))


def _case(n: int = 300, m: int = 240, classes: int = 10) -> _Case:
    return _Case(
        make_predictions(n, classes, seed=1, name="source"),
        make_predictions(m, classes, seed=2, shift=0.8, name="target"),
        (
            make_predictions(n, classes, seed=3, shift=0.4, name="fog-1", group="fog"),
            make_predictions(n, classes, seed=4, shift=1.2, name="fog-5", group="fog"),
            make_predictions(n, classes, seed=5, shift=0.6, name="snow-3", group="snow"),
        ),
    )


def _answer(estimator: Estimator, case: _Case) -> Estimate:
    fresh: Estimator = clone(estimator)
    return fresh.fit(case.source, case.others).predict(case.target)


def _hold(condition: bool, sentence: str) -> None:
    """Raise rather than `assert`: the suite must work under python -O too."""
    if not condition:
        raise AssertionError(sentence)


def _same(first: Estimate, second: Estimate, sentence: str) -> None:
    gaps = [abs(getattr(first, key) - getattr(second, key)) for key in ("accuracy", "low", "high")]
    _hold(
        max(gaps) <= TOLERANCE,
        f"{sentence}, but {first.accuracy} [{first.low}, {first.high}] became "
        f"{second.accuracy} [{second.low}, {second.high}]",
    )


def _as_bytes(estimate: Estimate) -> str:
    values = (estimate.accuracy, estimate.low, estimate.high, estimate.level, estimate.extended)
    return json.dumps([*values, dict(estimate.diagnostics)], sort_keys=True)


def _check_declaration(estimator: Estimator) -> None:
    problem = declaration_problem(estimator)
    _hold(not problem, problem)


def _check_constructor(estimator: Estimator) -> None:
    lost = [name for name in type(estimator)._get_param_names() if not hasattr(estimator, name)]
    _hold(not lost, f"each constructor argument must be stored under its own name, but {lost} are not")
    before = _arguments(estimator)
    _hold(_arguments(clone(estimator)) == before, "clone must give back the constructor arguments unchanged")


def _check_runs(estimator: Estimator) -> None:
    case, twin = _case(), clone(estimator)
    _hold(twin.fit(case.source, case.others) is twin, "fit must return the estimator itself")
    twin.predict(case.target)


def _check_state(estimator: Estimator) -> None:
    before = _arguments(estimator)
    twin: Estimator = clone(estimator)
    attributes = set(vars(twin))
    case = _case()
    twin.fit(case.source, case.others)
    _hold(_arguments(twin) == before, "fit must leave the constructor arguments unchanged")
    strangers = {key for key in set(vars(twin)) - attributes if not key.endswith("_")}
    _hold(not strangers, f"attributes learned in fit must end in '_', but there are {sorted(strangers)}")


def _arguments(estimator: Estimator) -> dict[str, Any]:
    """Return the constructor arguments, of nested estimators too; the nested ones by their class."""
    found: dict[str, Any] = estimator.get_params(deep=True)
    plain = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in found.items()}
    return {key: type(value) if hasattr(value, "get_params") else value for key, value in plain.items()}


def _check_refusals(estimator: Estimator) -> None:
    case = _case()
    _refuses(
        lambda: clone(estimator).fit(case.source.without_labels(), case.others),
        RequirementError,
        "fit must refuse a source without labels",
        "labels",
    )
    _refuses(
        lambda: clone(estimator).predict(case.target),
        InvalidInputError,
        "predict must refuse before fit",
        "fit",
    )
    fitted = clone(estimator).fit(case.source, case.others)
    _refuses(
        lambda: fitted.predict(make_predictions(50, 7)),
        InvalidInputError,
        "predict must refuse another class count",
        "classes",
    )
    for need in sorted(set(estimator.requires) - {"classes", "logits", "others"}):
        lacking: dict[str, Any] = {need: None}
        sentence = f"an unmet requirement must be refused by name ({need})"
        source, target = replace(case.source, **lacking), replace(case.target, **lacking)
        _refuses(partial(clone(estimator).fit, source, case.others), RequirementError, sentence, need)
        _refuses(partial(fitted.predict, target), RequirementError, sentence, need)
    if "others" in estimator.requires:
        _refuses(
            lambda: clone(estimator).fit(case.source),
            RequirementError,
            "an unmet requirement must be refused by name (others)",
            "others",
        )


def _check_hard_labels(estimator: Estimator) -> None:
    case = _case()
    hard = case.everywhere(_classes_alone)
    if "logits" in estimator.requires:
        _refuses(
            lambda: clone(estimator).fit(hard.source, hard.others),
            RequirementError,
            "predicted classes alone must be refused where logits are required",
            "logits",
        )
        return
    try:
        answer = _answer(estimator, hard)
    except RequirementError:  # it reads probabilities after all, and says so
        return
    _same(_answer(estimator, case), answer, "what needs no logits must answer alike from predicted classes")


def _classes_alone(p: Predictions) -> Predictions:
    outputs = np.zeros_like(p.logits)
    outputs[np.arange(len(p)), p.predicted] = 1
    return replace(p, logits=outputs, kind="classes")


def _refuses(call: Callable[[], object], error: type[Exception], sentence: str, word: str) -> None:
    try:
        call()
    except error as refusal:
        _hold(word in str(refusal), f"{sentence}, and its message must say {word!r}; it says: {refusal}")
    except Exception as other:
        raise AssertionError(f"{sentence} with {error.__name__}, but raised {other!r}") from other
    else:
        raise AssertionError(f"{sentence} with {error.__name__}, but did not")


def _check_answer(estimator: Estimator) -> None:
    for case in (_case(), _case(classes=2), _case(60, 50, classes=1000)):
        where = f"with {case.source.classes} classes"
        answer = _answer(estimator, case)
        _hold(isinstance(answer, Estimate), f"predict must return an Estimate {where}, got {type(answer)}")
        _hold(
            0 <= answer.low <= answer.accuracy <= answer.high <= 1,
            f"0 <= low <= accuracy <= high <= 1 must hold {where}, got {answer}",
        )
        _hold(0 < answer.level < 1, f"the interval's level must lie between 0 and 1, got {answer.level}")
        try:
            json.dumps(dict(answer.diagnostics), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise AssertionError(f"diagnostics must be values that JSON can hold {where}: {error}") from error


def _check_extremes(estimator: Estimator) -> None:
    case = _case()
    saturated = case.everywhere(lambda p: replace(p, logits=np.clip(p.logits * 1e5, -60000, 60000)))
    _answer(estimator, saturated)
    for labels in (case.source.predicted, (case.source.predicted + 1) % 10):
        _answer(estimator, replace(case, source=replace(case.source, labels=labels)))
    single = replace(case, target=case.target.select(np.array([0])))
    try:
        _answer(estimator, single)
    except InvalidInputError as refusal:
        _hold(
            type(estimator).__name__ in str(refusal),
            f"a target of one image must work or be refused by name, but the refusal says: {refusal}",
        )


def _check_deterministic(estimator: Estimator) -> None:
    first, second = (_as_bytes(_answer(estimator, _case())) for _ in range(2))
    _hold(
        first == second,
        "the same source and target must give the same answer twice; seed whatever is random in fit",
    )


def _check_labels_unread(estimator: Estimator) -> None:
    case = _case()
    plain = _as_bytes(_answer(estimator, replace(case, target=case.target.without_labels())))
    shuffled = np.random.default_rng(6).permutation(np.asarray(case.target.labels))
    for labels in (case.target.labels, shuffled, np.zeros(len(case.target), dtype=np.int64)):
        target = replace(case.target, labels=labels)
        _ = target.correct  # a cached property that a copy of the target must not carry along
        _hold(
            _as_bytes(_answer(estimator, replace(case, target=target))) == plain,
            "predict must never read target labels, but the answer depends on them",
        )


def _check_inputs_untouched(estimator: Estimator) -> None:
    case, untouched = _case(), _case()
    fitted = clone(estimator).fit(case.source, case.others)
    first, second = fitted.predict(case.target), fitted.predict(case.target)
    _hold(_as_bytes(first) == _as_bytes(second), "predict must give the same answer twice")
    pairs = zip(
        (case.source, case.target, *case.others),
        (untouched.source, untouched.target, *untouched.others),
        strict=True,
    )
    for used, original in pairs:
        for key in ("logits", "labels", "reference", "peers", "siblings", "features"):
            _hold(
                np.array_equal(getattr(used, key), getattr(original, key)),
                f"fit and predict must leave their inputs as they were, but {key} of {used.name!r} changed",
            )
    fitted.fit(case.target, case.others).fit(case.source, case.others)
    _hold(
        _as_bytes(fitted.predict(case.target)) == _as_bytes(first),
        "fit must forget what an earlier fit learned",
    )


def _check_permutations(estimator: Estimator) -> None:
    case, random = _case(), np.random.default_rng(7)
    plain = _answer(estimator, case)
    images = case.everywhere(lambda p: p.select(random.permutation(len(p))))
    _same(plain, _answer(estimator, images), "permuting images must change nothing")
    _same(
        plain,
        _answer(estimator, case.everywhere(_reverse_models)),
        "permuting members, peers and siblings must change nothing",
    )
    names = random.permutation(case.source.classes)
    renamed = case.everywhere(lambda p: _rename_classes(p, names))
    _same(plain, _answer(estimator, renamed), "permuting class names must change nothing")


def _reverse_models(p: Predictions) -> Predictions:
    def backwards(stack: NDArray[Any] | None) -> Any:
        return None if stack is None else stack[::-1]

    return replace(
        p, reference=backwards(p.reference), peers=backwards(p.peers), siblings=backwards(p.siblings)
    )


def _rename_classes(p: Predictions, names: Integers) -> Predictions:
    """Return the predictions with class k called names[k]."""
    columns = np.argsort(names)

    def renamed(classes: Classes | None) -> Any:
        return None if classes is None else names[classes]

    return replace(
        p,
        logits=p.logits[:, columns],
        labels=renamed(p.labels),
        reference=None if p.reference is None else p.reference[:, :, columns],
        peers=renamed(p.peers),
        siblings=renamed(p.siblings),
    )


def _check_duplication(estimator: Estimator) -> None:
    if estimator.reads_counts:
        return
    case = _case()
    twice = case.target.select(np.tile(np.arange(len(case.target)), 2))
    first, second = _answer(estimator, case), _answer(estimator, replace(case, target=twice))
    _hold(
        abs(first.accuracy - second.accuracy) <= TOLERANCE,
        f"duplicating the target must change no accuracy, but {first.accuracy} became {second.accuracy}",
    )


def _check_constant_logits(estimator: Estimator) -> None:
    if estimator.reads_offsets:
        return
    case, random = _case(), np.random.default_rng(8)

    def lifted(p: Predictions) -> Predictions:
        return replace(p, logits=p.logits + random.integers(-8, 9, (len(p), 1)))

    _same(
        _answer(estimator, case),
        _answer(estimator, case.everywhere(lifted)),
        "adding a constant to all logits of an image must change nothing",
    )


def _check_self_prediction(estimator: Estimator) -> None:
    if not estimator.exact_on_source:
        return
    case = _case()
    coarse = replace(case.source, logits=np.round(case.source.logits))  # many images tie
    for source in (case.source, coarse):
        answer = _answer(estimator, _Case(source, source.without_labels(), case.others))
        _hold(
            abs(answer.accuracy - source.accuracy) <= TOLERANCE,
            "the source predicted from itself must give its accuracy (exact_on_source), "
            f"{source.accuracy:.6f}, but gave {answer.accuracy:.6f}",
        )


_CHECKS: Mapping[str, Callable[[Estimator], None]] = {
    "The class declares a track and requirements that exist": _check_declaration,
    "Constructor arguments are stored unchanged, and clone gives them back": _check_constructor,
    "Fit and predict run on ordinary predictions": _check_runs,
    "Constructor arguments survive fit, and what is learned ends in '_'": _check_state,
    "Missing labels, fit or requirements, and other class counts, are refused by name": _check_refusals,
    "From predicted classes alone it answers as from logits, or refuses them by name": _check_hard_labels,
    "Answers hold 0 <= low <= accuracy <= high <= 1 and diagnostics that JSON can hold": _check_answer,
    "Saturated logits, sources without an error or without a hit, and a single image work": _check_extremes,
    "The same source and target give the same answer again": _check_deterministic,
    "Predict never reads target labels: absent, shuffled or wrong, they change no byte": _check_labels_unread,
    "Inputs stay as they were, and the same call gives the same answer": _check_inputs_untouched,
    "The order of images, of members and of classes changes nothing": _check_permutations,
    "Duplicating the target changes no accuracy, unless declared": _check_duplication,
    "Adding a constant to all logits of an image changes nothing, unless declared": _check_constant_logits,
    "The source predicted from itself gives its accuracy, where so declared": _check_self_prediction,
}
"""What must hold, in words, and the function that tries it."""
