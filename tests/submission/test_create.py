"""Logits from elsewhere as self-reported runs: what is written, what is refused, what the pool reads."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from shiftcast.blind.register import runs_with
from shiftcast.board.assemble import score_suite
from shiftcast.board.candidate import default_suite
from shiftcast.cards.suite import RunKey
from shiftcast.errors import CardError, InvalidInputError, MissingDataError, RunError, UnknownNameError
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.outputs import StoredSet, encode_predictions
from shiftcast.runs.reading import read_pool, read_reported
from shiftcast.runs.record import ReportedRecord
from shiftcast.submission.create import import_run, make_claim
from shiftcast.util.hashing import sha256
from shiftcast.workspace import Workspace

TEST = "digits-test"
SHIFTED = "digits-shifted/contrast-5"
TWIN = "test_vit/tiny/seed-0"


@pytest.fixture
def results(make_results):
    return make_results()


@pytest.fixture
def twin(results):
    """The logits and the sets of a run that is there."""
    _, sets = RunFolder(results / "tiny" / TWIN).read()
    return sets


@pytest.fixture
def bring(workspace, results, twin, tmp_path):
    """Import the run's logits, changed as asked, under another name."""

    def call(change=dict, name="theirs", seed=0, family=None, parameters=None, note="", force=False):
        file = tmp_path / "logits.npz"
        np.savez(file, **change({key: one.logits.astype(np.float32) for key, one in twin.items()}))
        claim = make_claim(workspace, name, seed, family, parameters, note)
        return import_run(workspace, workspace.suite("tiny"), file, claim, results, force)

    return call


def place_of(results, name="theirs", seed=0):
    return RunFolder(results / "tiny" / name / "self-reported" / f"seed-{seed}")


def test_imported_logits_are_those_of_the_run_they_come_from(bring, results, twin):
    found = bring(family="mixer", parameters=7, note="by hand")
    record, sets = place_of(results).read_reported()
    assert record == found.record
    assert (record.origin, record.key.recipe) == ("self-reported", "self-reported")
    assert (record.family, record.parameters, record.note) == ("mixer", 7, "by hand")
    assert (record.suite, record.suite_version, record.source) == ("tiny", 1, TEST)
    theirs = RunFolder(results / "tiny" / TWIN)
    original = theirs.read_record()
    assert record.targets == original.targets
    assert record.datasets == {name: original.datasets[name] for name in sets}
    assert place_of(results).predictions_path.read_bytes() == theirs.predictions_path.read_bytes()
    assert next(iter(found.record.targets)) == TEST
    assert all(one.from_run for one in found.known.values())


def test_safetensors_and_prefixed_names_serve_as_well(workspace, bring, results, twin, tmp_path):
    npz = bring()
    file = tmp_path / "logits.safetensors"
    save_file({f"logits/{name}": one.logits for name, one in twin.items()}, file)
    claim = make_claim(workspace, "other", 3, None, None, "")
    found = import_run(workspace, workspace.suite("tiny"), file, claim, results)
    assert found.record.predictions_sha256 == npz.record.predictions_sha256
    assert place_of(results, "other", 3).read_reported()[0] == found.record


def test_clusters_come_with_the_set(bring, results):
    for path in results.rglob("run.json"):
        folder = RunFolder(path.parent)
        record, sets = folder.read()
        sets[TEST] = dataclasses.replace(sets[TEST], clusters=np.arange(len(sets[TEST].logits)) // 10)
        data = encode_predictions(sets)
        folder.write(record.model_copy(update={"predictions_sha256": sha256(data)}), data)
    bring()
    _, sets = place_of(results).read_reported()
    assert sets[TEST].clusters.max() == (len(sets[TEST].logits) - 1) // 10
    assert sets[SHIFTED].clusters is None


def test_a_card_of_the_name_says_what_is_left_out(workspace):
    card = workspace.architecture("test_vit")
    claim = make_claim(workspace, "test_vit", 0, None, None, "")
    assert (claim.family, claim.parameters) == (card.family, card.parameters)
    claim = make_claim(workspace, "test_vit", 0, "mixer", 5, "")
    assert (claim.family, claim.parameters) == ("mixer", 5)
    claim = make_claim(workspace, "theirs", 0, None, None, "")
    assert (claim.family, claim.parameters) == ("unknown", None)


@pytest.mark.parametrize("name", ["../up", "/root", "a/b", "", "A", ".hidden", "x" * 65, "a\n", "a\\b"])
def test_a_name_that_is_no_name_is_refused(workspace, name):
    with pytest.raises(InvalidInputError, match=r"architecture: .*expected at most 64 small letters"):
        make_claim(workspace, name, 0, None, None, "")


@pytest.mark.parametrize(
    "text",
    ["two\nlines", "bell\a", "turned \u202e round", "mark\u200f", "zero\u200bwidth", "\x1b[31m", "x" * 201],
)
def test_text_that_would_break_a_table_is_refused(workspace, text):
    with pytest.raises(InvalidInputError, match=r"^note: "):
        make_claim(workspace, "theirs", 0, None, None, text)
    with pytest.raises(InvalidInputError, match=r"^family: "):
        make_claim(workspace, "theirs", 0, text, None, "")


def test_numbers_that_cannot_be_are_refused(workspace):
    with pytest.raises(InvalidInputError, match=r"^family: "):
        make_claim(workspace, "theirs", 0, " ", None, "")
    with pytest.raises(InvalidInputError, match=r"parameters: .*greater than 0"):
        make_claim(workspace, "theirs", 0, None, 0, "")
    with pytest.raises(InvalidInputError, match="seed: expected 0 or more, got -1"):
        make_claim(workspace, "theirs", -1, None, None, "")


def with_set(name, change):
    return lambda sets: sets | {name: change(sets[name])}


def first_value(value):
    def change(logits):
        changed = logits.copy()
        changed[0, 2] = value
        return changed

    return change


def one_hot(logits):
    return np.eye(logits.shape[1])[logits.argmax(axis=1)]


def softmax(logits):
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            with_set(SHIFTED, lambda a: a[:-1]),
            r"contrast-5: expected 100 images and 10 .*\(99, 10\); rows are",
        ),
        (with_set(SHIFTED, lambda a: a[:, :9]), r"expected 100 images and 10 classes.*got \(100, 9\)$"),
        (with_set(SHIFTED, np.transpose), r"got \(10, 100\); transpose it"),
        (with_set(SHIFTED, np.ravel), r"got \(1000,\)"),
        (
            with_set(TEST, lambda a: a.argmax(axis=1)),
            "look like class indices, and digits-shifted/.* holds logits; save the network's outputs",
        ),
        (with_set(TEST, lambda a: np.rint(a).astype(np.int8)), r"got int8 \(.*\); save them as float32"),
        (with_set(TEST, lambda a: a.argmax(axis=1)[:, None]), "look like class indices"),
        (with_set(TEST, lambda a: a > 0), "look like class indices"),
        (
            with_set(TEST, lambda a: a.argmax(axis=1).astype(float)),
            r"got dtype float64; class indices must be integers: convert them with .astype\(int\)",
        ),
        (with_set(TEST, lambda a: a[:, 0]), r"expected .* images and 10 classes, .*got \(898,\)"),
        *(
            (with_set(TEST, lambda a, kind=kind: one_hot(a).astype(kind)), "look one-hot.*argmax")
            for kind in (float, int, bool)
        ),
        (with_set(TEST, lambda a: a.astype(complex)), "expected logits .*got complex128"),
        (with_set(TEST, lambda a: a.astype(str)), "expected logits .*got <U"),
        (with_set(TEST, lambda a: a.astype(object)), "cannot be read from a .npz file; .*plain numbers"),
        (
            with_set(TEST, first_value(np.nan)),
            r"1 logits are not finite .* index \[0, 2\] \(nan\); NaN is not an output",
        ),
        (with_set(TEST, first_value(np.inf)), r"1 logits are not finite .*take each row's maximum off"),
        (with_set(TEST, first_value(-60_001)), r"beyond 60,000 in size, .*\(-60001"),
        (
            with_set(TEST, softmax),
            "these are probabilities .*sums to 1.; save the logits.*np.log.probs..clip",
        ),
        (
            with_set(TEST, lambda a: 100 * softmax(a)),
            r"these are probabilities .*sums to 100.*np.log.probs / 100.\.clip",
        ),
        (lambda sets: {k: v for k, v in sets.items() if k != TEST}, f"lacks '{TEST}'"),
        (lambda sets: {}, f"lacks '{TEST}'.*it holds nothing"),
        (lambda sets: sets | {f"logits/{TEST}": sets[TEST]}, f"holds '{TEST}' twice"),
        (lambda sets: {"logits": sets[TEST], "labels": np.zeros(3)}, r"holds one set .*called by its id"),
    ],
)
def test_arrays_that_are_no_such_logits_are_refused(bring, results, change, message):
    with pytest.raises(InvalidInputError, match=message):
        bring(change)
    assert not place_of(results).path.exists()


@pytest.mark.parametrize("name", ["digits-shifted/contrast-4", f"true_rank/{TEST}", "digits-train", "cifar"])
def test_unknown_sets_are_refused_with_the_nearest_names(bring, results, name):
    hint = {"digits-shifted/contrast-4": f"did you mean .*{SHIFTED}", "cifar": f"known: .*{TEST}"}.get(
        name, ""
    )
    with pytest.raises(UnknownNameError, match=f"logits.npz: unknown set of suite tiny '{name}'.*{hint}"):
        bring(lambda sets: sets | {name: np.zeros((3, 10))})
    assert not place_of(results).path.exists()


def test_files_that_cannot_be_read_are_refused(workspace, bring, results, tmp_path):
    bring()
    claim = make_claim(workspace, "theirs", 1, None, None, "")
    whole = (tmp_path / "logits.npz").read_bytes()
    damaged = bytearray(whole)
    damaged[200:260] = np.random.RandomState(0).bytes(60)
    files = {
        "cut.npz": whole[: len(whole) // 2],
        "text.npz": b"logits",
        "damaged.npz": bytes(damaged),
        "cut.safetensors": b"\x10\0\0\0\0\0\0\0{}",
        "pickled.npy": b"",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for name in (*files, "missing.npz", "."):
        with pytest.raises(
            InvalidInputError, match=r"cannot be read|is a folder|there is no such file|holds one set"
        ):
            import_run(workspace, workspace.suite("tiny"), tmp_path / name, claim, results)
    assert not place_of(results, seed=1).path.exists()


def test_a_run_that_takes_too_much_room_is_refused(bring, results, monkeypatch):
    monkeypatch.setattr("shiftcast.submission.create.PREDICTIONS_LIMIT", 10_000)
    with pytest.raises(InvalidInputError, match=r"bytes as stored, above the 10,000 .*leave sets away"):
        bring()
    assert not place_of(results).path.exists()


def test_the_same_again_is_left_alone_and_another_one_needs_force(bring, results):
    assert bring(note="first").changed
    place = place_of(results)
    before = {path: path.stat().st_mtime_ns for path in place.path.iterdir()}
    assert not bring(note="first").changed
    assert not bring(note="first", force=True).changed
    with pytest.raises(InvalidInputError, match="holds a run that differs in note; replace it with --force"):
        bring(note="second")
    with pytest.raises(InvalidInputError, match="differs in targets, predictions_sha256"):
        bring(with_set(TEST, np.negative), note="first")
    assert before == {path: path.stat().st_mtime_ns for path in place.path.iterdir()}
    assert bring(note="second", force=True).changed
    assert place.read_reported()[0].note == "second"


def test_a_damaged_run_is_replaced_by_force_alone(bring, results):
    bring()
    place = place_of(results)
    place.predictions_path.write_bytes(b"")
    with pytest.raises(RunError, match=r"truncated.*submit it again with --force"):
        bring()
    assert bring(force=True).changed
    place.record_path.unlink()  # killed before the last file was written
    assert bring().changed
    assert place.read_reported()


def test_sets_that_no_run_holds_are_read_from_the_datasets(workspace, tiny_data, tmp_path):
    suite, random = workspace.suite("tiny"), np.random.RandomState(0)
    file = tmp_path / "logits.npz"
    np.savez(file, **{name: random.normal(size=(len(one), 10)) for name, one in tiny_data.sets.items()})
    claim = make_claim(workspace, "theirs", 0, None, None, "")
    found = import_run(workspace, suite, file, claim, workspace.results())
    assert not any(one.from_run for one in found.known.values())
    assert found.record.datasets == {name: tiny_data.used[name] for name in tiny_data.sets}
    _, sets = place_of(workspace.results()).read_reported()
    assert all(np.array_equal(sets[name].labels, one.labels) for name, one in tiny_data.sets.items())
    scores = score_suite(workspace, suite, workspace.results())
    assert set(scores.runs["status"]) == {"missing"}
    assert set(scores.reported["set"]) == set(tiny_data.sets)


def test_withheld_labels_stay_withheld(workspace, tiny_data, tmp_path, monkeypatch):
    hidden = {**tiny_data.sets, SHIFTED: dataclasses.replace(tiny_data.sets[SHIFTED], labels=None)}
    data = dataclasses.replace(tiny_data, sets=hidden)
    monkeypatch.setattr("shiftcast.submission.known_sets.load_sets", lambda *_, **__: data)
    file = tmp_path / "logits.npz"
    np.savez(file, **{name: np.random.RandomState(0).normal(size=(len(hidden[name]), 10)) for name in hidden})
    claim = make_claim(workspace, "theirs", 0, None, None, "")
    found = import_run(workspace, workspace.suite("tiny"), file, claim, workspace.results())
    assert found.record.targets[SHIFTED].accuracy is None
    assert place_of(workspace.results()).read_reported()[1][SHIFTED].true_rank is None


def test_datasets_that_are_not_there_or_another_edition_are_refused(
    workspace, tiny_data, tmp_path, monkeypatch
):
    file = tmp_path / "logits.npz"
    np.savez(file, **{TEST: np.zeros((len(tiny_data.sets[TEST]), 10)), SHIFTED: np.zeros((100, 10))})
    claim = make_claim(workspace, "theirs", 0, None, None, "")

    def call(data):
        monkeypatch.setattr("shiftcast.submission.known_sets.load_sets", lambda *_, **__: data)
        import_run(workspace, workspace.suite("tiny"), file, claim, workspace.results())

    with pytest.raises(MissingDataError, match=f"no complete run .*: on no disk; or leave {SHIFTED} away"):
        call(dataclasses.replace(tiny_data, absent={SHIFTED: "on no disk"}))
    other = tiny_data.used[TEST].model_copy(update={"edition": "elsewhere"})
    with pytest.raises(InvalidInputError, match=r"another edition \(elsewhere\) than suite 'tiny'"):
        call(dataclasses.replace(tiny_data, used={**tiny_data.used, TEST: other}))


def reread(workspace, results):
    suite = workspace.suite("tiny")
    pool, rows = read_pool(workspace, suite, results / "tiny")
    return read_reported(pool, results / "tiny"), pool, rows


def test_self_reported_runs_take_no_part_in_the_pool(workspace, bring, results):
    _, before, rows_before = reread(workspace, results)
    bring(seed=2)
    bring(name="another")
    bring(seed=10)
    reported, pool, rows = reread(workspace, results)
    names = ["another/self-reported/seed-0", "theirs/self-reported/seed-2", "theirs/self-reported/seed-10"]
    assert [str(run.key) for run in reported] == names
    assert rows == rows_before
    assert [run.key for run in pool.runs] == [run.key for run in before.runs]


def spoil(place, change=lambda sets: sets, **values):
    """Write changed predictions that the record agrees with, and changed fields."""
    _, sets = place.read_reported()
    sets = change(sets)
    data = encode_predictions(sets)
    place.predictions_path.write_bytes(data)
    targets = {name: {"n": one.n, "accuracy": one.accuracy} for name, one in sets.items()}
    agreed = {"predictions_sha256": sha256(data), "targets": targets}
    content = json.loads(place.record_path.read_text()) | agreed | values
    place.record_path.write_text(json.dumps(content))


def one_set(change):
    return lambda sets: sets | {SHIFTED: change(sets[SHIFTED])}


def test_a_damaged_self_reported_run_is_refused(workspace, bring, results):
    bring()
    place = place_of(results)
    whole = place.predictions_path.read_bytes()
    place.predictions_path.write_bytes(whole[:-8] + b"\0" * 8)
    with pytest.raises(RunError, match=r"expected SHA-256 .* as run.json states, .*; submit it again"):
        reread(workspace, results)
    place.predictions_path.unlink()
    with pytest.raises(RunError, match="is missing; submit it again"):
        reread(workspace, results)


@pytest.mark.parametrize(
    ("change", "values", "message"),
    [
        (
            one_set(lambda s: StoredSet(s.logits, (s.true_rank + 1) % 10)),
            {},
            "with other true classes of 100 images",
        ),
        (
            one_set(lambda s: dataclasses.replace(s, clusters=s.true_rank)),
            {},
            "cluster: expected the objects",
        ),
        (lambda s: {TEST: StoredSet(s[TEST].logits, None)}, {}, "true_rank/digits-test"),
        (
            lambda s: {SHIFTED: s[SHIFTED]},
            {},
            "expected outputs on the labelled test set",
        ),
        (lambda s: s | {"digits-shifted/fog-1": s[SHIFTED]}, {}, "fog-1': expected .* of sets of the suite"),
        (
            lambda s: {TEST: s[TEST], "digits-shifted/fog-1": s[SHIFTED]},
            {},
            "sets of suite 'tiny', found 1 others",
        ),
        (lambda s: s, {"suite": "other"}, "where it stands, found other/theirs"),
        (
            lambda s: s,
            {"key": RunKey(architecture="b", recipe="self-reported", seed=0).model_dump()},
            "b/self",
        ),
        (lambda s: s, {"origin": "reproduced"}, "origin: expected 'self-reported'"),
        (lambda s: s, {"note": "two\nlines"}, "note: expected one line of printable characters"),
        (lambda s: s, {"epochs": []}, "epochs: expected no key of that name"),
        (lambda s: s, {"datasets": {}}, "expected the fingerprint of every set"),
    ],
)
def test_a_self_reported_run_that_contradicts_the_others_is_refused(
    workspace, bring, results, change, values, message
):
    bring()
    spoil(place_of(results), change, **values)
    with pytest.raises(RunError, match=message):
        reread(workspace, results)


def test_ranks_that_a_run_lacks_follow_from_the_labels_of_the_others(workspace, bring, results, twin):
    """A set whose labels were withheld at import, and have been opened since."""
    bring()
    spoil(place_of(results), one_set(lambda stored: StoredSet(stored.logits, None)))
    (run,), _, _ = reread(workspace, results)
    assert np.array_equal(run.sets[SHIFTED].true_rank, twin[SHIFTED].true_rank)


def test_a_run_of_an_earlier_version_of_the_suite_is_stale(workspace, bring, results):
    bring()
    path = workspace.root / "benchmark" / "suites" / "tiny.toml"
    path.write_text(path.read_text().replace("version = 1", "version = 2"))
    (run,), _, _ = reread(Workspace(workspace.root, workspace.root), results)
    assert run.stale == "its suite has another version now"


def test_the_recipes_name_is_reserved(workspace):
    recipe = workspace.root / "benchmark" / "recipes" / "tiny.toml"
    suite = workspace.root / "benchmark" / "suites" / "tiny.toml"
    (recipe.parent / "self-reported.toml").write_text(recipe.read_text())
    with pytest.raises(CardError, match=r"self-reported\.toml: the recipe name 'self-reported' is reserved"):
        _ = Workspace(workspace.root, workspace.root).suites
    (recipe.parent / "self-reported.toml").unlink()
    suite.write_text(suite.read_text().replace('recipe = "tiny"\nseeds', 'recipe = "self-reported"\nseeds'))
    with pytest.raises(CardError, match=r"tiny\.toml: the recipe name 'self-reported' is reserved"):
        _ = Workspace(workspace.root, workspace.root).suites


def test_which_packages_wrote_a_record_makes_it_no_other(bring):
    record = bring().record
    assert record.differences(record.model_copy(update={"packages": {}})) == []
    assert record.differences(record.model_copy(update={"seed": 1, "note": "x"})) == ["note"]
    assert ReportedRecord.model_validate(record.model_dump()) == record


def test_neither_registers_nor_the_choice_of_a_suite_count_them(workspace, bring, results):
    bring()
    own = [place.path for place in runs_with(results, TEST)]
    assert len(own) == len(list(results.glob("tiny/*/tiny/seed-*/run.json"))) > 0
    for path in results.glob("tiny/*/tiny/seed-*/run.json"):
        path.unlink()
    with pytest.raises(InvalidInputError, match="holds no results"):
        default_suite(workspace, results)
