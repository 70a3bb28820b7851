import dataclasses
import json
import math
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from shiftcast.board.assemble import score_results, score_suite
from shiftcast.cards.suite import Target
from shiftcast.data import stratified_halves
from shiftcast.data.sampling import base_index
from shiftcast.errors import InvalidInputError, RunError
from shiftcast.estimators import Estimator, NoShift, official_estimators
from shiftcast.predictions import Estimate
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.outputs import StoredSet, encode_predictions
from shiftcast.runs.reading import read_pool
from shiftcast.runs.record import TargetResult
from shiftcast.scoring.harness import RunView, combine, corruption_kind, protocols
from shiftcast.scoring.rows import score_pool
from shiftcast.statistics.agreement import PEER_AGREEMENT, pairwise_agreement
from shiftcast.util.hashing import sha256
from shiftcast.workspace import Workspace


def score(workspace, results, **keywords):
    return score_suite(workspace, workspace.suite("tiny"), results, **keywords)


@pytest.fixture(scope="module")
def scored(tiny_template):
    """What all estimators say of the runs that `make_results` makes."""
    return score(tiny_template.workspace, tiny_template.runs.parent)


@pytest.fixture
def scores(scored, make_results):
    """The same, beside a copy of the runs."""
    make_results()
    return scored


class Spy(Estimator):
    """Answers with the source accuracy and keeps what it was shown."""

    track = "T1"
    seen: ClassVar[list] = []

    def _fit(self, source, others):
        Spy.seen.append(("fit", source, tuple(others)))

    def _predict(self, target):
        Spy.seen.append(("predict", target, ()))
        return Estimate(self.source_accuracy_, 0.0, 1.0, 0.95)


class Needy(Spy):
    """A spy that also wants the other groups."""

    track = "T5"
    requires = frozenset({"logits", "others"})


@pytest.fixture
def spied(workspace, make_results):
    Spy.seen = []
    return score(workspace, make_results(), estimators={"Spy": Spy(), "Needy": Needy()})


def test_a_row_for_each_run_target_estimator_and_protocol(scores):
    runs, targets, protocols = 6, 6, 2
    recorded = [name for name, one in official_estimators().items() if "signals" in one.requires]
    answering = [name for name in official_estimators() if name not in recorded]
    usual = scores.table[scores.table["protocol"] != "kind-out"]
    assert len(usual) == runs * targets * protocols * len(answering)
    learning = {name for name in answering if official_estimators()[name].others_from == "synthetic"}
    assert set(scores.table.loc[scores.table["protocol"] == "kind-out", "estimator"]) <= learning
    assert set(scores.skipped["estimator"]) == set(recorded)  # named, with the reason
    assert set(scores.skipped["reason"]) == {"the run recorded no signals of its images"}
    assert not scores.table.duplicated(["architecture", "seed", "target", "estimator", "protocol"]).any()
    assert set(scores.runs["status"]) == {"ok"}


def test_actual_accuracy_is_that_of_all_the_targets_images(scores, make_results, workspace):
    folder = RunFolder(workspace.results() / "tiny" / "test_vit" / "tiny" / "seed-1")
    _, sets = folder.read()
    stored = sets["digits-shifted/contrast-5"]
    rows = scores.table.query(
        "architecture == 'test_vit' and seed == 1 and target == 'digits-shifted/contrast-5'"
    )
    assert rows["actual"].nunique() == 1
    assert rows["actual"].iloc[0] == pytest.approx((stored.true_rank == 0).mean(), abs=1e-6)
    assert set(rows["n"]) == {100}


def test_class_shares_of_natural_sets_are_held_against_the_sources(workspace, make_results):
    results = make_results()
    found = score(workspace, results, estimators={"NoShift": NoShift()}).class_distances
    suite = workspace.suite("tiny")
    natural = [target.id for target in suite.unfolded_targets() if workspace.natural(target)]
    assert list(found) == natural
    _, sets = RunFolder(next(iter(results.rglob("run.json"))).parent).read()
    source = list(sets[suite.source.test].labels)
    for name, value in found.items():
        own = list(sets[name].labels)
        apart = [abs(own.count(k) / len(own) - source.count(k) / len(source)) for k in range(10)]
        assert value == pytest.approx(sum(apart) / 2)
        assert value > 0


def test_no_shift_is_cross_fitted(scores, workspace):
    """NoShift fitted on A predicts B and the reverse: the mean of both halves' accuracies."""
    _, sets = RunFolder(workspace.results() / "tiny" / "test_vit" / "tiny" / "seed-0").read()
    right = sets["digits-test"].true_rank == 0
    labels = sets["digits-test"].labels
    halves = stratified_halves(labels, 0)
    table = scores.table.query("architecture == 'test_vit' and seed == 0 and estimator == 'NoShift'")
    rows = table[table["target"] == "digits-shifted/rotation-2"].set_index("protocol")
    assert rows.loc["shared", "predicted"] == pytest.approx(right.mean(), abs=1e-6)
    low, high = sorted(right[half].mean() for half in halves)
    assert low - 1e-6 <= rows.loc["official", "predicted"] <= high + 1e-6


def test_official_rows_never_see_a_base_image_twice(workspace, make_results):
    """What a fold predicts is made from the half that it was not fitted on, and no image is lost."""
    pool, _ = read_pool(workspace, workspace.suite("tiny"), make_results() / "tiny")
    for target in pool.targets:
        base, seen = base_index(target, pool.labels, pool.suite.source.seed), []
        for fold in protocols(target)["official"]:
            made_from = base[pool.rows(target, fold.predict)]
            assert not set(made_from) & set(pool.halves[fold.fit])
            seen += made_from.tolist()
        assert sorted(seen) == base.tolist()


def test_a_fold_fits_on_its_half_of_the_source(spied):
    sizes = {len(shown) for kind, shown, _ in Spy.seen if kind == "fit"}
    assert sizes == {449, 898}  # either half of the 898 test images, and the whole for the shared protocol


def test_target_labels_never_reach_an_estimator(spied):
    assert all(shown.labels is None for kind, shown, _ in Spy.seen if kind == "predict")


def test_others_are_labelled_and_of_other_groups(spied):
    fits = [(source, others) for kind, source, others in Spy.seen if kind == "fit" and others]
    assert fits
    for _, others in fits:
        assert all(other.labels is not None for other in others)
        assert len({other.group for other in others}) == 2


def test_the_family_of_a_scored_run_is_kept_out_of_its_reference(workspace, make_results):
    pool, _ = read_pool(workspace, workspace.suite("tiny"), make_results() / "tiny")
    assert pool.members("vision_transformer") == ("test_byobnet", "test_efficientnet", "test_resnet")
    assert pool.members("resnet") == ("test_byobnet", "test_efficientnet", "test_nfnet")


def test_an_incomplete_ensemble_skips_what_needs_it(workspace, make_results):
    found = score(workspace, make_results(skip=("test_byobnet/tiny/seed-100",)))
    skipped = dict(zip(found.skipped["estimator"], found.skipped["reason"], strict=True))
    assert skipped["ConfusionPartition"] == "the reference ensemble is incomplete"
    assert "NoShift" not in skipped
    assert "missing" in set(found.runs["status"])


def test_a_run_without_sibling_is_skipped_by_gde_alone(workspace, make_results):
    found = score(workspace, make_results(skip=("test_vit/tiny/seed-1",)))
    unrecorded = {name for name, one in official_estimators().items() if "signals" in one.requires}
    assert set(found.skipped["estimator"]) == {"GDE", *unrecorded}
    (reason,) = set(found.skipped.query("estimator == 'GDE'")["reason"])
    assert "no sibling" in reason
    assert "test_resnet" in set(found.table.query("estimator == 'GDE'")["architecture"])
    assert "test_vit" not in set(found.table.query("estimator == 'GDE'")["architecture"])


def test_partial_and_stale_runs_are_listed_and_not_scored(workspace, make_results):
    results = make_results()
    partial = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0")
    partial.predictions_path.unlink()
    stale = RunFolder(results / "tiny" / "test_resnet" / "tiny" / "seed-0")
    content = json.loads(stale.record_path.read_text())
    stale.record_path.write_text(json.dumps(content | {"card_hash": "0" * 64}))
    found = score(workspace, results, estimators={"NoShift": NoShift()})
    status = found.runs.set_index(["architecture", "seed"])["status"]
    assert status["test_vit", 0] == "incomplete: predictions.safetensors is missing"
    assert status["test_resnet", 0] == "stale: its architecture card has changed"
    assert set(zip(found.table["architecture"], found.table["seed"], strict=True)) == {
        ("test_vit", 1),
        ("test_resnet", 1),
        ("test_convnext", 0),
        ("test_convnext", 1),
    }


def rewrite(folder, change):
    """Replace a run's predictions by changed ones that its record vouches for."""
    record, sets = folder.read()
    data = encode_predictions(change(sets))
    targets = {name: TargetResult(n=one.n, accuracy=one.accuracy) for name, one in change(sets).items()}
    folder.write(record.model_copy(update={"predictions_sha256": sha256(data), "targets": targets}), data)


def cut(sets):
    return {n: StoredSet(s.logits[:-1], s.true_rank[:-1]) for n, s in sets.items()}


def fewer_classes(sets):
    return {n: StoredSet(s.logits[:, :9].copy(), np.minimum(s.true_rank, 8)) for n, s in sets.items()}


def other_labels(sets):
    return {n: StoredSet(s.logits, (s.true_rank + 1) % 10) for n, s in sets.items()}


def blind(sets):
    return {n: StoredSet(s.logits, None) for n, s in sets.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut, r"expected float16 \(100, 10\), found float16 \(99, 10\)"),
        (fewer_classes, r"expected float16 \(100, 10\), found float16 \(100, 9\)"),
        (other_labels, "as test_resnet/tiny/seed-0 says, found .* with other true classes of 100 images"),
        (blind, "true_rank/digits-test: expected outputs on the labelled test set"),
    ],
)
def test_a_run_that_contradicts_the_others_is_refused(workspace, make_results, change, message):
    results = make_results()
    rewrite(RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0"), change)
    with pytest.raises(RunError, match=message):
        score(workspace, results)


def test_a_truncated_file_or_another_schema_is_refused(workspace, make_results):
    results = make_results()
    folder = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0")
    whole = folder.predictions_path.read_bytes()
    folder.predictions_path.write_bytes(whole[:-7])
    with pytest.raises(RunError, match=r"test_vit/tiny/seed-0/predictions\.safetensors.*truncated"):
        score(workspace, results)
    folder.predictions_path.write_bytes(whole)
    folder.record_path.write_text(
        folder.record_path.read_text().replace('"schema_version": 1', '"schema_version": 9')
    )
    with pytest.raises(RunError, match="newer schema, 9; update shiftcast"):
        score(workspace, results)


def test_the_same_results_give_the_same_table(workspace, make_results, scored):
    found = (scored, score(workspace, make_results()))
    first, second = (one.table.drop(columns="seconds") for one in found)
    assert first.equals(second)


def test_two_halves_combine_by_their_images():
    one = Estimate(0.8, 0.7, 0.9, 0.95)
    other = Estimate(0.6, 0.6, 0.8, 0.95, extended=True)
    both = combine([one, other], [30, 10])
    assert both.accuracy == pytest.approx(0.75)
    assert both.low == pytest.approx(0.75 - 0.75 * 0.1, abs=1e-6)
    assert both.high == pytest.approx(0.75 + math.hypot(0.075, 0.05), abs=1e-6)
    assert both.extended
    assert combine([one], [5]) is one
    assert (both.flagged, both.abstains) == ("", "")
    doubtful = combine([one, Estimate(0.6, 0.5, 0.8, 0.95, flagged="far off", abstains="no line")], [1, 1])
    assert (doubtful.flagged, doubtful.abstains) == ("far off", "no line")


def test_extrapolated_maps_are_told_in_the_table(scores):
    """Of each mapped score some target lies beyond the others: their flags are not dropped on the way."""
    rows = scores.table[scores.table["track"] == "T4"]
    assert rows["flagged"].dtype == bool
    assert 0 < rows["flagged"].mean() < 1
    assert not scores.table.loc[scores.table["estimator"] == "NoShift", "flagged"].any()


def test_results_of_an_unknown_suite_are_refused(workspace, make_results):
    results = make_results()
    (results / "tiny").rename(results / "other")
    with pytest.raises(RunError, match="holds runs of a suite 'other'"):
        score_results(workspace, results)


def test_no_results_say_how_to_make_some(workspace, tmp_path):
    with pytest.raises(InvalidInputError, match="shiftcast run quickstart"):
        score_results(workspace, tmp_path)


def test_an_ensemble_is_judged_once_however_many_models_are_scored(workspace, make_results, monkeypatch):
    from shiftcast.difficulty import scores

    judged, plain = [], scores.KINDS["entropy"]
    counted = {**scores.KINDS, "entropy": lambda members: judged.append(id(members)) or plain(members)}
    monkeypatch.setattr(scores, "KINDS", counted)
    pool, _ = read_pool(workspace, workspace.suite("tiny"), make_results() / "tiny")
    score_pool(pool, official_estimators())
    assert len(pool.scored) > 1
    assert len(judged) == len(set(judged)) > 0


def test_peers_are_the_runs_of_plain_recipes(workspace, make_results, monkeypatch):
    from shiftcast.scoring.harness import RunView

    pool, _ = read_pool(workspace, workspace.suite("tiny"), make_results() / "tiny")
    first, second, *rest = pool.scored
    assert RunView(pool, first).peers == [second, *rest]
    del pool.peers
    monkeypatch.setattr(pool, "is_plain", lambda run: run is not second)
    assert RunView(pool, first).peers == rest
    assert RunView(pool, second).peers == [first, *rest]
    del pool.peers
    monkeypatch.setattr(pool, "is_plain", lambda run: False)
    assert RunView(pool, first).peers == [second, *rest]


def test_agreement_of_peers_is_found_once_and_is_that_of_each_models_own(
    workspace, make_results, monkeypatch
):
    from shiftcast.estimators import agreement
    from shiftcast.runs import suite_runs as module
    from shiftcast.scoring.harness import RunView

    calls, plain = [], pairwise_agreement
    monkeypatch.setattr(module, "pairwise_agreement", lambda classes: calls.append(1) or plain(classes))
    pool, _ = read_pool(workspace, workspace.suite("tiny"), make_results() / "tiny")
    target = pool.targets[0]
    for run in pool.scored:
        seen = RunView(pool, run).target(target, "A")
        known = agreement.remembered(seen.peers, PEER_AGREEMENT, lambda: None)
        np.testing.assert_array_equal(known, plain(seen.peers))
        np.testing.assert_array_equal(
            agreement._agreement(seen), plain(np.vstack([seen.peers, seen.predicted]))
        )
    assert len(calls) == 1


def test_target_rows_are_permuted_alike_for_every_model(workspace, make_results):
    from shiftcast.scoring.harness import RunView

    pool, _ = read_pool(workspace, workspace.suite("tiny"), make_results() / "tiny")
    target = pool.targets[0]
    rows = pool.rows(target, "A")
    shown = RunView(pool, pool.scored[0]).target(target, "A")
    assert not np.array_equal(rows, np.sort(rows))
    assert np.array_equal(shown.logits, pool.scored[0].sets[target.id].logits[rows])
    assert np.array_equal(shown.peers[0], pool.scored[1].predicted(target.id)[rows])
    byobnet = pool.reference["test_byobnet"].probabilities(target.id)[rows]
    assert any(np.allclose(member, byobnet) for member in shown.reference)


VIEWS = """
[views.without-ones]
title = "everything but ones and the first image"
without_classes = ["1"]
without_images = [0]

[views.another]
title = "what only another edition has"
edition = "elsewhere"

[editions.elsewhere]
fingerprint = "0000000000000000000000000000000000000000000000000000000000000000"
description = "Nobody's."
"""


def test_views_count_parts_of_a_set_in_the_edition_that_they_are_about(workspace, make_results):
    results = make_results()
    card = workspace.root / "datasets" / "digits-test.toml"
    card.write_text(card.read_text() + VIEWS)
    again = Workspace(workspace.root, workspace.root)
    views = score(again, results, estimators={"NoShift": NoShift()}).views
    assert set(views["view"]) == {"without-ones"}
    assert set(views["set"]) == {"digits-test"}
    row = views.query("architecture == 'test_vit' and seed == 1").iloc[0]
    _, sets = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-1").read()
    stored = sets["digits-test"]
    shown = stored.labels != 1
    shown[0] = False
    assert (row["n"], row["right"]) == (shown.sum(), (stored.true_rank == 0)[shown].sum())


def test_images_in_clusters_count_for_less(workspace, make_results):
    results, first = make_results(), "digits-test"
    for path in results.rglob("run.json"):
        folder = RunFolder(path.parent)
        record, sets = folder.read()
        sets[first] = dataclasses.replace(sets[first], clusters=np.arange(len(sets[first].logits)) // 10)
        data = encode_predictions(sets)
        folder.write(record.model_copy(update={"predictions_sha256": sha256(data)}), data)
    frame = score(workspace, results, estimators={"NoShift": NoShift()}).accuracies
    grouped = frame["set"] == first
    assert (frame.loc[grouped, "effective"] <= frame.loc[grouped, "n"]).all()
    assert (frame.loc[grouped, "effective"] < frame.loc[grouped, "n"]).any()
    assert (frame.loc[~grouped, "effective"] == frame.loc[~grouped, "n"]).all()


def test_runs_with_other_clusters_are_refused(workspace, make_results):
    results = make_results()
    folder = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-1")
    record, sets = folder.read()
    name = "digits-test"
    sets[name] = dataclasses.replace(sets[name], clusters=np.arange(len(sets[name].logits)))
    data = encode_predictions(sets)
    folder.write(record.model_copy(update={"predictions_sha256": sha256(data)}), data)
    with pytest.raises(RunError, match="digits-test, cluster: expected the objects that the images show"):
        score(workspace, results)


def test_kinds_of_corruption_are_left_out_whole():
    """Noise learns from no noise: neither its own type nor the others of its kind."""
    targets = [
        Target(id=f"c/{name}-3", dataset="c", group=name, level="optional", transform=name, severity=3)
        for name in ("gaussian_noise", "shot_noise", "fog", "pixelate")
    ]
    assert [corruption_kind(target) for target in targets] == ["noise", "noise", "weather", "digital"]
    view = object.__new__(RunView)
    view.pool = SimpleNamespace(workspace=SimpleNamespace(natural=lambda _: False), targets=targets)
    view.run = SimpleNamespace(sets={target.id: SimpleNamespace(true_rank=0) for target in targets})
    view._others = {}
    chosen, _ = view.others(targets[0], True, kind_out=True)
    assert [target.group for target in chosen] == ["fog", "pixelate"]
    chosen, _ = view.others(targets[0], True)
    assert [target.group for target in chosen] == ["shot_noise", "fog", "pixelate"]
