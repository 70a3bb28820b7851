"""Outputs as people have them: arrays, archives, tables; a set a file or all of them; logits or classes."""

import zipfile

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from shiftcast.board.assemble import score_suite
from shiftcast.errors import InvalidInputError, UnknownNameError
from shiftcast.intake.outputs import open_outputs
from shiftcast.submission.create import import_run, make_claim

CLASSES = ("cat", "dog", "emu", "fox")
LOGITS = "logit_cat,logit_dog,logit_emu,logit_fox\n"


@pytest.fixture
def bring(zoo):
    """Submit files; return what is stored, by set."""

    def call(*files, name="net"):
        claim = make_claim(zoo.workspace, name, 0, "net", None, "")
        given = files[0] if len(files) == 1 and not isinstance(files[0], tuple) else files
        found = import_run(zoo.workspace, zoo.workspace.suite("zoo"), given, claim, zoo.results)
        return found.record, found.place.read_reported()[1]

    return call


def as_table(zoo, sets, labels=True, order=CLASSES, one=None):
    """Return a table of logits, or of classes by name, of all sets or of one."""
    parts = []
    for name, array in sets.items():
        if one not in (None, name):
            continue
        hard = array.ndim == 1
        part = pd.DataFrame(
            {"predicted": [CLASSES[k] for k in array]}
            if hard
            else {f"logit_{k}": array[:, CLASSES.index(k)] for k in order}
        )
        if one is None:
            part["set"] = name
        if labels:
            part["label"] = [CLASSES[k] for k in zoo.labels[name]]
        parts.append(part)
    return pd.concat(parts)


def is_what_was_given(zoo, sets, given):
    for name, array in given.items():
        expected = array.astype(np.float16)
        assert np.array_equal(sets[name].logits, expected)
        assert np.array_equal(sets[name].labels, zoo.labels[name])
        assert sets[name].accuracy == (expected.argmax(axis=1) == zoo.labels[name]).mean()


def test_every_kind_of_file_comes_to_the_same_row_on_the_board(zoo, bring, tmp_path):
    given = zoo.logits(0)
    np.savez(tmp_path / "all.npz", **given)
    save_file(given, tmp_path / "all.safetensors")
    as_table(zoo, given, order=CLASSES[::-1]).to_csv(tmp_path / "all.csv", index=False)
    ones = []
    for number, (name, array) in enumerate(given.items()):
        path = tmp_path / f"one-{number}.npy"
        np.save(path, array)
        ones.append((name, path))
    hashes = set()
    for files in (["all.npz"], ["all.safetensors"], ["all.csv"]):
        record, sets = bring(tmp_path / files[0], name=files[0].replace("all.", "by-"))
        is_what_was_given(zoo, sets, given)
        hashes.add(record.predictions_sha256)
    record, sets = bring(*ones, name="by-npy")
    hashes.add(record.predictions_sha256)
    assert len(hashes) == 1
    for name in ("by-safetensors", "by-csv", "by-npy"):
        for path in (zoo.results / "zoo" / name).rglob("*.*"):
            path.unlink()
    scores = score_suite(zoo.workspace, zoo.workspace.suite("zoo"), zoo.results)
    row = scores.accuracies.query("architecture == 'by-npz'").set_index("set")["right"].to_dict()
    assert row == {n: int((a.astype(np.float16).argmax(1) == zoo.labels[n]).sum()) for n, a in given.items()}


def test_class_indices_are_stored_narrow_and_say_what_they_say(zoo, bring, tmp_path):
    given = zoo.classes(0)
    np.savez(tmp_path / "all.npz", **given)
    as_table(zoo, given).to_csv(tmp_path / "names.csv", index=False)
    numbers = as_table(zoo, given, labels=False).assign(predicted=np.concatenate(list(given.values())))
    numbers.to_csv(tmp_path / "numbers.csv", index=False)
    hashes = set()
    for name in ("all.npz", "names.csv", "numbers.csv"):
        record, sets = bring(tmp_path / name, name=name.replace(".", "-"))
        hashes.add(record.predictions_sha256)
        assert record.outputs == "classes"
        for key, array in given.items():
            assert sets[key].hard
            assert np.array_equal(sets[key].logits.argmax(axis=1), array)
            assert set(np.unique(sets[key].logits)) == {0.0, 1.0}
            assert np.array_equal(sets[key].labels, zoo.labels[key])
            assert record.targets[key].accuracy == (array == zoo.labels[key]).mean()
    assert len(hashes) == 1
    size = (zoo.results / "zoo/all-npz/self-reported/seed-0/predictions.safetensors").stat().st_size
    assert size < 2 * sum(map(len, given.values())) + 1_000


def test_files_of_one_set_are_told_which(zoo, bring, tmp_path):
    given = zoo.logits(0)
    np.savez(tmp_path / "one.npz", logits=given["zoo-test"], labels=zoo.labels["zoo-test"])
    as_table(zoo, given, one="zoo-street").to_csv(tmp_path / "two.csv", index=False)
    _, sets = bring(("zoo-test", tmp_path / "one.npz"), ("zoo-street", tmp_path / "two.csv"))
    is_what_was_given(zoo, sets, {name: given[name] for name in ("zoo-test", "zoo-street")})
    np.savez(tmp_path / "hard.npz", classes=zoo.classes(0)["zoo-test"])
    assert bring(("zoo-test", tmp_path / "hard.npz"), name="hard")[0].outputs == "classes"


def test_probabilities_of_one_set_are_told_how_they_become_logits(zoo, bring, tmp_path):
    np.savez(tmp_path / "one.npz", probs=zoo.logits(0)["zoo-test"])
    for files in (("zoo-test", tmp_path / "one.npz"), tmp_path / "one.npz"):
        with pytest.raises(
            InvalidInputError, match=r"as 'logits': np.log\(probs\).clip\(-100\), which gives"
        ):
            bring(files)


def test_numbers_that_could_be_names_or_positions_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("predicted\n0\n1\n2\n")
    with (
        open_outputs(tmp_path / "t.csv", ("1", "2", "3")) as source,
        pytest.raises(InvalidInputError, match=r"could be class names .1, 2, 3, ….* or positions"),
    ):
        source.read("logits", 3, 3)


def shuffled(array):
    return array[::-1]


def test_rows_in_another_order_are_found_by_their_labels(zoo, bring, tmp_path):
    given = zoo.logits(0)
    table = as_table(zoo, given)
    table.iloc[::-1].to_csv(tmp_path / "all.csv", index=False)
    with pytest.raises(
        InvalidInputError, match=r"its labels differ from those of the set on \d+ of 240 images"
    ):
        bring(tmp_path / "all.csv")
    np.savez(tmp_path / "one.npz", logits=given["zoo-test"], labels=shuffled(zoo.labels["zoo-test"]))
    with pytest.raises(InvalidInputError, match="rows must be in the order of the images"):
        bring(("zoo-test", tmp_path / "one.npz"))
    np.savez(tmp_path / "one.npz", logits=given["zoo-test"], labels=np.zeros(3, int))
    with pytest.raises(InvalidInputError, match=r"its labels are of shape \(3,\)"):
        bring(("zoo-test", tmp_path / "one.npz"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("logit_cat,logit_dog\n1,2\n", "expected a column logit_CLASS for each of cat, dog, emu, fox"),
        ("a,b\n1,2\n", "or the column 'predicted' .*its columns are a, b"),
        ("predicted,logit_cat\n1,2\n", "not both kinds"),
        (
            "predicted\nyak\n",
            "column predicted: row 0 .*: expected one of cat, dog, emu, fox, or a number .*got 'yak'$",
        ),
        (
            "predicted\ncat\nCATT\n",
            r"row 1 \(from 0\): expected one of cat, .*got 'CATT'; did you mean cat\?",
        ),
        ("predicted\ncat\n7\n", r"row 1 \(from 0\): expected one of cat, dog, emu, fox, got '7'$"),
        (
            "predicted,label\ncat,cat\n,dog\n",
            r"column predicted: row 1 \(from 0\) is blank, .*; expected one of",
        ),
        ("predicted,label\ncat,cat\ncat,dgo\n", r"column label: row 1 .*got 'dgo'; did you mean dog\?"),
        ("predicted\n4\n", "a number from 0 to 3, got '4'"),
        ("predicted\n\n", r"holds no rows|shape|expected one of"),
        ("set,predicted\n,1\n", "column set: row 0 is empty"),
        ("", "cannot be read as a table: it is empty"),
        (f"{LOGITS}1,2,3,4\n1,,3,4\n", r"column logit_dog: row 1 \(from 0\) is blank, .*; expected a number"),
        (f"{LOGITS}1,2,3,4\n1,2,3,nan\n", r"column logit_fox: row 1 \(from 0\) is NaN; expected a finite"),
        (
            f"{LOGITS}1,2,3,4\n1,2,3\n",
            r"column logit_fox: row 1 \(from 0\) is blank, or the row ends before it",
        ),
        (f"{LOGITS}1,2,3,4,5\n1,2,3,4,5\n", "its rows hold more cells than its header names columns"),
        ("predicted,label\ncat,cat\nNA,cat\n", r"column predicted: row 1 .*got 'NA'"),
        (f"{LOGITS}1,2,3,4\n1,much,3,4\n", r"column logit_dog: row 1 .*: expected a number, got 'much'"),
        (f"{LOGITS}1,2,3,4\n1,True,3,4\n", r"column logit_dog: row 1 .*: expected a number, got 'True'"),
        (f"{LOGITS}1,2,3,4\n1,,much,4\n", r"column logit_dog: row 1 \(from 0\) is blank"),
        (f"set,{LOGITS}zoo-street,1,2,3,4\nzoo-test,1,x,3,4\n", r"column logit_dog: row 1 .*got 'x'"),
    ],
)
def test_tables_that_are_no_outputs_are_refused(bring, tmp_path, table, message):
    (tmp_path / "t.csv").write_text(table)
    files = tmp_path / "t.csv" if table.startswith("set") else ("zoo-test", tmp_path / "t.csv")
    with pytest.raises(InvalidInputError, match=message):
        bring(files)


def test_sets_and_kinds_that_do_not_belong_together_are_refused(zoo, bring, tmp_path):
    given, hard = zoo.logits(0), zoo.classes(0)
    np.savez(tmp_path / "mixed.npz", **{**given, "zoo-street": hard["zoo-street"]})
    with pytest.raises(
        InvalidInputError, match="zoo-street: these look like class indices, and zoo-test holds"
    ):
        bring(tmp_path / "mixed.npz")
    np.savez(tmp_path / "range.npz", **{"zoo-test": hard["zoo-test"] + 1})
    with pytest.raises(
        InvalidInputError, match=r"expected values in 0..3 .*if they count from 1, subtract 1"
    ):
        bring(tmp_path / "range.npz")
    np.save(tmp_path / "a.npy", given["zoo-test"])
    for files in ([("zoo-test", tmp_path / "a.npy"), ("zoo-test", tmp_path / "a.npy")],):
        with pytest.raises(InvalidInputError, match="holds 'zoo-test', and so does"):
            bring(*files)
    with pytest.raises(UnknownNameError, match="unknown set of suite zoo 'zoo-tset'; did you mean zoo-test"):
        bring(("zoo-tset", tmp_path / "a.npy"))
    with pytest.raises(InvalidInputError, match=r"holds one set .*name it: --predictions zoo-test=a.npy"):
        bring(tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", other=given["zoo-test"])
    with pytest.raises(InvalidInputError, match=r"expected one array, 'logits' .*; it holds other"):
        bring(("zoo-test", tmp_path / "b.npz"))


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_does(zoo, bring, tmp_path):
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    header += b"{'descr': '<f4', 'fortran_order': False, 'shape': (100000000, 4), }".ljust(117) + b"\n"
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("zoo-test.npy", "w", force_zip64=True) as stream,
    ):
        stream.write(header)
        for _ in range(64):
            stream.write(bytes(1 << 20))
    assert (tmp_path / "bomb.npz").stat().st_size < 200_000
    with pytest.raises(
        InvalidInputError, match=r"it unpacks to 67,1\d\d,\d\d\d bytes, too many for 960 values"
    ):
        bring(tmp_path / "bomb.npz")
    with zipfile.ZipFile(tmp_path / "many.npz", "w") as archive:
        for number in range(10_001):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(InvalidInputError, match="it holds 10,001 members or more; expected at most 10,000"):
        bring(tmp_path / "many.npz")


def test_a_header_that_claims_too_much_is_refused(bring, tmp_path):
    (tmp_path / "a.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(InvalidInputError, match="it is truncated or something else"):
        bring(tmp_path / "a.safetensors")
