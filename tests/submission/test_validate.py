"""What validating says of runs, suites and whole results: problems, rows old and new, what was altered."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from shiftcast.errors import InvalidInputError
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.ledger import read_ledger
from shiftcast.runs.outputs import encode_predictions, true_ranks
from shiftcast.submission import need_logits, validate
from shiftcast.util.hashing import sha256
from shiftcast.workspace import Workspace


def found(report):
    return "\n".join(map(str, report.problems))


@pytest.fixture
def look(zoo):
    return lambda path, against=None: validate(zoo.workspace, path, zoo.data, against)


@pytest.fixture
def base(zoo, tmp_path):
    """Results with three runs, and a copy of them as they were."""
    for number in range(3):
        zoo.submit(f"net-{number}", zoo.logits(number, 1.0 + number), family=f"family-{number}")
    shutil.copytree(zoo.results, tmp_path / "base")
    return tmp_path / "base"


def test_a_run_is_valid_and_its_accuracies_are_recomputed_where_the_data_is_here(zoo, look):
    place = zoo.submit("net", zoo.logits(0))
    report = look(place.path)
    assert not report.problems
    (one,) = report.looked
    assert (one.valid, one.hard, one.level) == (True, False, "self-reported")
    assert one.recomputed == ("zoo-test", "zoo-street", "zoo-night")
    (change,) = report.changes
    right = (zoo.logits(0)["zoo-street"].astype(np.float16).argmax(axis=1) == zoo.labels["zoo-street"]).mean()
    assert change.new["zoo-street %"].startswith(f"{100 * right:.2f} [")
    assert (change.old, change.new["rank"], change.new["trust"]) == ({}, "1", "self-reported")
    shutil.rmtree(zoo.data)
    report = look(place.path)
    assert not report.problems
    assert report.looked[0].recomputed == ()
    assert report.notes[0] == "zoo: not compared with the data: dataset zoo-test is not here"


def rewrite(place, change):
    """Write other outputs, so that the files agree with each other."""
    record, sets = place.read_reported()
    sets = change(sets)
    data = encode_predictions(sets)
    targets = {name: {"n": len(one.logits), "accuracy": one.accuracy} for name, one in sets.items()}
    place.predictions_path.write_bytes(data)
    values = json.loads(place.record_path.read_text()) | {
        "predictions_sha256": sha256(data),
        "targets": targets,
    }
    place.record_path.write_text(json.dumps(values))
    return record


def test_a_lie_about_the_true_classes_is_found_by_the_data(zoo, look):
    """Ranks all zero say that every answer is right; the files agree with each other."""
    place = zoo.submit("net", zoo.logits(0))
    from dataclasses import replace

    rewrite(place, lambda sets: {k: replace(one, true_rank=one.true_rank * 0) for k, one in sets.items()})
    report = look(place.path)
    right = {
        name: float((true_ranks(one.astype(np.float16), zoo.labels[name]) == 0).mean())
        for name, one in zoo.logits(0).items()
    }
    assert len(report.problems) == 3
    for problem, (name, share) in zip(report.problems, right.items(), strict=True):
        assert problem.file.endswith(f"{name}, accuracy")
        assert problem.expected == f"accuracy {share:.6f}, as dataset {name} says"
        assert problem.found.startswith("1.000000, with other true classes of ")
    assert not report.changes


def test_the_same_lie_is_found_by_other_runs_without_the_data(zoo, look):
    zoo.submit("honest", zoo.logits(1))
    place = zoo.submit("net", zoo.logits(0))
    from dataclasses import replace

    rewrite(place, lambda sets: {k: replace(one, true_rank=one.true_rank * 0) for k, one in sets.items()})
    shutil.rmtree(zoo.data)
    report = look(place.path)
    assert all("as honest/self-reported/seed-0 says" in problem.expected for problem in report.problems)
    assert len(report.problems) == 3


def test_other_images_are_found_by_their_fingerprint(zoo, look):
    place = zoo.submit("net", zoo.logits(0))
    values = json.loads(place.record_path.read_text())
    values["datasets"]["zoo-street"]["fingerprint"] = "0" * 64
    place.record_path.write_text(json.dumps(values))
    (problem,) = look(place.path).problems
    assert problem.file.endswith("zoo-street, fingerprint")
    assert problem.found == "000000000000…"


def test_all_problems_are_listed_not_only_the_first(zoo, look):
    place = zoo.submit("net", zoo.logits(0))
    values = json.loads(place.record_path.read_text())
    values |= {"note": "a\nb", "parameters": -1, "epochs": []}
    place.record_path.write_text(json.dumps(values))
    place.predictions_path.write_bytes(place.predictions_path.read_bytes()[:-5])
    (place.path / "notes.txt").write_text("see here")
    report = look(place.path)
    text = found(report)
    for part in (
        "run.json, note",
        "run.json, parameters",
        "run.json, epochs",
        "it is truncated",
        "notes.txt",
    ):
        assert part in text
    assert len(report.problems) >= 5


@pytest.mark.parametrize("kept", [-1, -200, 60, 4, 0])
def test_a_truncated_file_is_one_problem(zoo, look, kept):
    place = zoo.submit("net", zoo.logits(0))
    whole = place.predictions_path.read_bytes()
    place.predictions_path.write_bytes(whole[:kept])
    (problem,) = look(place.path).problems
    assert problem.file == str(place.predictions_path)
    assert problem.found == f"{len(whole[:kept]):,} bytes: it is truncated"
    if kept < 0:
        assert problem.expected == f"{len(whole):,} bytes, as the file's header tells"


@pytest.mark.parametrize("name", ["run.json", "predictions.safetensors"])
def test_a_link_is_one_problem(zoo, look, tmp_path, name):
    place = zoo.submit("net", zoo.logits(0))
    (place.path / name).rename(tmp_path / name)
    (place.path / name).symlink_to(tmp_path / name)
    report = look(place.path)
    (problem,) = report.problems
    assert (problem.found, problem.remedy) == ("a symbolic link", "put a copy in its place")
    assert not report.looked[0].valid


def test_keys_that_are_not_as_they_must_be_are_named_in_our_words(zoo, look):
    place = zoo.submit("net", zoo.logits(0))
    values = json.loads(place.record_path.read_text()) | {"more": 1, "parameters": "many", "note": "a\nb"}
    del values["family"]
    place.record_path.write_text(json.dumps(values))
    said = {one.file.rpartition(", ")[2]: (one.expected, one.found) for one in look(place.path).problems}
    assert said["more"] == ("no key of that name", "one, with 1")
    assert said["family"] == ("this key", "none")
    assert said["parameters"] == (
        "a valid integer, unable to parse string as an integer",
        "'many'",
    )
    assert said["note"][0].startswith("one line of printable characters")


def test_folders_between_a_suite_and_a_run_are_looked_at_as_well(zoo, look, base, tmp_path):
    zoo.submit("net-1", zoo.logits(30, 3.0), family="family-1", seed=1)
    model = zoo.results / "zoo" / "net-1"
    for folder in (model, model / "self-reported"):
        report = look(folder)
        assert not report.problems
        assert report.root == zoo.results
        assert [str(one.place.key) for one in report.looked] == [
            "net-1/self-reported/seed-0",
            "net-1/self-reported/seed-1",
        ]
        assert [change.name for change in report.changes] == ["zoo/net-1/self-reported"]
    (model / "notes.txt").write_text("see here")
    assert [problem.found for problem in look(model).problems] == ["another file"]
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "zoo").symlink_to(zoo.results / "zoo")
    for folder in ("net-1", "net-1/self-reported"):
        report = look(tmp_path / "tree" / "zoo" / folder)
        assert [problem.found for problem in report.problems] == ["a symbolic link"]
        assert not report.looked


def test_additions_are_valid_and_shown_old_against_new(zoo, look, base):
    zoo.submit("fresh", zoo.logits(9, 1.4), family="mixer")
    report = look(zoo.results, str(base))
    assert not report.problems
    asked = [change for change in report.changes if change.asked]
    assert [(change.name, change.old) for change in asked] == [("zoo/fresh/self-reported", {})]
    moved = {change.name: change for change in report.changes if not change.asked}
    last = moved["zoo/net-0/self-reported"]
    assert (last.old["rank"], last.new["rank"]) == ("3", "4")


def test_another_seed_of_a_model_shows_its_old_row(zoo, look, base):
    zoo.submit("net-1", zoo.logits(30, 3.0), family="family-1", seed=1)
    (change,) = [change for change in look(zoo.results, str(base)).changes if change.asked]
    assert (change.old["runs"], change.new["runs"]) == ("1/1", "2/2")
    assert change.old["zoo-street %"] != change.new["zoo-street %"]


def test_what_was_there_may_not_change(zoo, look, base):
    (zoo.results / "zoo" / "outcome.md").write_text("as it came")
    (zoo.results / "blind").mkdir()
    (zoo.results / "blind" / "a.jsonl").write_text("one\ntwo\n")
    (zoo.results / "zoo" / "confusion.md").write_text("made")
    shutil.rmtree(base)
    shutil.copytree(zoo.results, base)
    place = RunFolder(zoo.results / "zoo" / "net-0" / "self-reported" / "seed-0")
    values = json.loads(place.record_path.read_text())
    place.record_path.write_text(json.dumps(values | {"note": "changed"}))
    shutil.rmtree(zoo.results / "zoo" / "net-2")
    (zoo.results / "zoo" / "outcome.md").write_text("as we like it")
    (zoo.results / "blind" / "a.jsonl").write_text("one\nTWO\nthree\n")
    (zoo.results / "zoo" / "confusion.md").write_text("made again")
    (zoo.results / "ledger.toml").write_text("")
    report = look(zoo.results, str(base))
    named = sorted(problem.file.removeprefix(f"{zoo.results}/") for problem in report.problems)
    assert named == [
        "blind/a.jsonl",
        "ledger.toml",
        "zoo/net-0/self-reported/seed-0/run.json",
        "zoo/net-2/self-reported/seed-0/predictions.safetensors",
        "zoo/net-2/self-reported/seed-0/run.json",
        "zoo/outcome.md",
    ]
    remedies = {problem.file.rpartition("/")[2]: problem.remedy for problem in report.problems}
    assert "only maintainers" in remedies["ledger.toml"]
    assert "lines of a register may only be added" in remedies["a.jsonl"]


def test_registers_may_grow(zoo, look, base):
    for folder, text in ((base, "one\n"), (zoo.results, "one\ntwo\n")):
        (folder / "blind").mkdir()
        (folder / "blind" / "a.jsonl").write_text(text)
    assert not look(zoo.results, str(base)).problems


def test_a_git_revision_is_a_base_as_well(zoo, look, base):
    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(zoo.root), *arguments]
        subprocess.run(command, check=True, capture_output=True)

    git("init", "-q")
    git("add", "results")
    git("commit", "-qm", "Base")
    assert not look(zoo.results, "HEAD").problems
    zoo.submit("fresh", zoo.logits(9))
    report = look(zoo.results, "HEAD")
    assert not report.problems
    assert [change.name for change in report.changes if change.asked] == ["zoo/fresh/self-reported"]
    shutil.rmtree(zoo.results / "zoo" / "net-0")
    assert "a file that stands in the base" in found(look(zoo.results, "HEAD"))
    for revision in ("nonsense", "--output=x", "HEAD:results"):
        with pytest.raises(InvalidInputError, match="is neither a folder nor a revision"):
            look(zoo.results, revision)
    assert not (zoo.root / "x").exists()


def test_a_base_without_results_makes_all_of_it_new(zoo, look, base, tmp_path):
    (tmp_path / "empty").mkdir()
    report = look(zoo.results, str(tmp_path / "empty"))
    assert not report.problems
    assert len([change for change in report.changes if change.asked]) == 3


def test_a_copy_of_anothers_outputs_is_named_whichever_comes_first(zoo, look, base):
    zoo.submit("a-copy", zoo.logits(1, 2.0))
    (problem,) = look(zoo.results, str(base)).problems
    assert problem.file.endswith("a-copy/self-reported/seed-0/predictions.safetensors")
    assert problem.found == "a duplicate: those of net-1/self-reported/seed-0"
    (problem,) = look(zoo.results / "zoo" / "a-copy" / "self-reported" / "seed-0").problems
    assert problem.found == "a duplicate: those of net-1/self-reported/seed-0"


def test_partial_and_missing_runs_are_listed(zoo, look, base):
    zoo.write('\n[[runs]]\narchitectures = ["net-0", "net-1", "partial", "gone"]\nseeds = [0]\n')
    zoo.submit("partial", {"zoo-test": zoo.logits(5)["zoo-test"]})
    report = look(zoo.results)
    assert not report.problems
    assert sorted(report.unranked) == [
        ("zoo/gone/self-reported/seed-0", "missing"),
        ("zoo/net-2/self-reported/seed-0", "not listed in the suite"),
        ("zoo/partial/self-reported/seed-0", "lacks target zoo-street"),
    ]


def test_class_indices_are_said_to_be_such(zoo, look):
    report = look(zoo.submit("net", zoo.classes(0)).path)
    assert not report.problems
    assert report.looked[0].hard
    assert report.looked[0].recomputed == ("zoo-test", "zoo-street", "zoo-night")
    assert {"AC", "DoC", "ATC-MC", "COT", "MDE"} <= set(need_logits())
    assert not {"NoShift", "GDE", "ALine-S", "ConfusionPartition", "OwnLabelPartition"} & set(need_logits())


def test_what_is_no_run_is_refused(zoo, look, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "nothing").mkdir()
    for name, message in {
        "absent": "there is no such folder",
        "file": "expected a folder",
        "link": "that is not a link",
        "nothing": "holds no run; expected a folder of results",
    }.items():
        with pytest.raises(InvalidInputError, match=message):
            look(tmp_path / name)


def test_trained_runs_are_checked_as_well(workspace, make_results, tmp_path):
    """Of a suite that trains: derived sets, reference ensemble, self-reported runs beside the others."""
    results = make_results(skip=("test_vit/tiny/seed-1",))
    report = validate(workspace, results, tmp_path)
    assert not report.problems
    assert ("tiny/test_vit/tiny/seed-1", "missing") in report.unranked
    assert all(len(one.recomputed) == 7 for one in report.looked)  # scikit-learn brings the digits
    place = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0")
    (change,) = validate(workspace, place.path, tmp_path).changes
    assert change.name == "tiny/test_vit/tiny"
    assert change.new["predicted % (error)"] != "–"
    assert change.new["rank"] == "not ranked: seed 1: missing"
    record = json.loads(place.record_path.read_text())
    record["targets"]["digits-shifted/contrast-5"]["accuracy"] = 0.99
    record["recipe"]["learning_rate"] = -1
    place.record_path.write_text(json.dumps(record))
    text = found(validate(workspace, place.path, tmp_path))
    assert "learning_rate\n  expected: greater than 0\n  found:    -1" in text
    record["recipe"]["learning_rate"] = 0.002
    place.record_path.write_text(json.dumps(record))
    (problem,) = validate(workspace, place.path, tmp_path).problems
    assert problem.file.endswith("targets, digits-shifted/contrast-5, accuracy")
    assert problem.found == "0.990000"


def test_a_self_reported_run_beside_trained_ones_shows_its_row(workspace, make_results, tmp_path):
    from shiftcast.submission.create import import_run, make_claim

    results = make_results()
    sets = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0").read()[1]
    outputs = {name: one.logits.argmax(axis=1) for name, one in sets.items()}
    np.savez(tmp_path / "theirs.npz", **outputs)
    claim = make_claim(workspace, "theirs", 0, workspace.architecture("test_vit").family, None, "by hand")
    place = import_run(workspace, workspace.suite("tiny"), tmp_path / "theirs.npz", claim, results).place
    report = validate(workspace, place.path, tmp_path)
    assert not report.problems
    (change,) = report.changes
    assert change.new["model"] == "theirs‡"
    assert change.new["rank"] == "never ranked: self-reported"
    assert change.new["note"] == "by hand"
    read_ledger(results).with_runs([place.path], "recomputed").write()
    (change,) = validate(Workspace(workspace.root, workspace.root), place.path, tmp_path).changes
    assert change.new["trust"] == "recomputed"


def test_a_stale_run_is_listed_and_nobody_vouches_for_its_accuracies(zoo, look):
    """What its sets were is not what the suite's cards say now."""
    place = zoo.submit("net", zoo.logits(0))
    path = zoo.root / "benchmark" / "suites" / "zoo.toml"
    path.write_text(path.read_text().replace("version = 1", "version = 2"))
    report = validate(zoo.workspace, place.path, zoo.data)
    assert not report.problems
    assert report.looked[0].recomputed == ()
    assert sorted(report.looked[0].unchecked) == ["zoo-night", "zoo-street", "zoo-test"]
    assert report.unranked == [("zoo/net/self-reported/seed-0", "stale: its suite has another version now")]
