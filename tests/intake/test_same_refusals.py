"""The same broken file is refused with the same words by every command that reads files of people."""

import gzip
import io
import warnings
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shiftcast.data.add import read_own
from shiftcast.errors import InvalidInputError, ShiftcastError
from shiftcast.estimate.inputs import attach, read_ensemble, read_set
from shiftcast.submission.create import import_run, make_claim
from shiftcast.testing import make_predictions

CLASSES = ("cat", "dog", "emu", "fox")
HEAD = "logit_cat,logit_dog,logit_emu,logit_fox,label\n"
OWN = make_predictions(12, 4, seed=0)


@pytest.fixture
def readers(zoo):
    """What each command reads a file with."""
    claim = make_claim(zoo.workspace, "net", 0, "net", None, "")

    def submit(path):
        import_run(zoo.workspace, zoo.workspace.suite("zoo"), [("zoo-test", path)], claim, zoo.results)

    return {
        "estimate": lambda path: read_set(path, labelled=False),
        "submit": submit,
        "difficulty": read_ensemble,
        "others": lambda path: attach(OWN, OWN, "reference", path),
        "add": lambda path: read_own(path, CLASSES),
    }


def refusals(readers, names, path):
    """Return the different words of several readers about a file."""
    said = {}
    for name in names:
        with pytest.raises(ShiftcastError) as refusal:
            readers[name](path)
        said.setdefault(str(refusal.value), []).append(name)
    return said


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def twice():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("logits.npy", b"")
    return stream.getvalue()


WHOLE = npz(logits=OWN.logits)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read as a .npz file; it is truncated or something else"),
        (b"hello", "cannot be read as a .npz file; it is truncated or something else"),
        (WHOLE[: len(WHOLE) // 2], "cannot be read as a .npz file; it is truncated or something else"),
        (twice(), "holds 'logits' twice; keep one"),
        (gzip.compress(WHOLE, mtime=0), "is called .npz, but is compressed with gzip; unpack it first"),
        (b"\x93NUMPY", "is called .npz, but is a numpy array; name it .npy"),
    ],
)
def test_broken_archives(readers, tmp_path, content, words):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    said = refusals(readers, ("estimate", "submit", "difficulty", "others", "add"), path)
    assert len(said) == 1
    assert f"{path}: {words}" in next(iter(said))


def test_files_that_are_not_there_and_folders(readers, tmp_path):
    names = ("estimate", "submit", "difficulty", "others")
    assert list(refusals(readers, names, tmp_path / "a.npz")) == [
        f"{tmp_path / 'a.npz'}: there is no such file"
    ]
    assert all("is a folder; name a .npz" in words for words in refusals(readers, names, tmp_path))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_objects_are_never_opened(readers, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(path, logits=objects) if suffix == ".npz" else np.save(tmp_path / "a.npy", objects)
    if suffix == ".safetensors":
        (tmp_path / "a.npy").rename(path)
    said = refusals(readers, ("estimate", "submit", "difficulty"), path)
    assert len(said) == 1
    assert "cannot be read" in next(iter(said))


@pytest.mark.parametrize("name", ["a.tsv", "a.txt", "a.csv.gz", "a.pt", "a"])
def test_other_kinds_of_files_are_told_what_to_write(readers, tmp_path, name):
    (tmp_path / name).write_text("1\t2\n")
    said = refusals(readers, ("estimate", "submit"), tmp_path / name)
    assert len(said) == 1
    assert "write a table as .csv, with commas between its cells, and arrays with numpy.savez" in next(
        iter(said)
    )


ROW = "1,2,3,4,cat\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        (HEAD, "holds no rows"),
        (f"{HEAD}1,2,3,4,cat,\n1,2,3,4,cat,\n", "expected as many: 5, got 6 in row 0 (from 0)"),
        (f"{HEAD}{ROW}1,2,3,4,cat,\n", "expected as many: 5, got 6 in row 1 (from 0)"),
        (f"{HEAD}{ROW}1,2,3,4\n", "column label: row 1 (from 0) is blank, or the row ends before it"),
        (f"{HEAD}{ROW}1,2\n", "column logit_emu: row 1 (from 0) is blank, or the row ends before it"),
        (f"{HEAD[:-1]},label\n1,2,3,4,cat,dog\n", "two columns are called 'label', number 4 and 5 (from 0)"),
        (f"logit_cat, {HEAD}1,{ROW}", "two columns are called 'logit_cat', number 0 and 1 (from 0)"),
        (HEAD.replace(",", ";") + "1;2;3;4;cat\n", "its columns are separated by ';'"),
        (f'{HEAD}1,2,3,4,"cat\n', "cannot be read as a table: unexpected end of data"),
        (f"{HEAD}1,much,3,4,cat\n", "column logit_dog: row 0 (from 0): expected a number, got 'much'"),
        (f"{HEAD}{ROW}1,,3,4,cat\n", "column logit_dog: row 1 (from 0) is blank"),
        (f"{HEAD}1,nan,3,4,cat\n", "column logit_dog: row 0 (from 0) is NaN; expected a finite number"),
        (f"{HEAD}1,-inf,3,4,cat\n", "got '-inf'; give logarithms of 0 a lower end such as -100"),
        (f"{HEAD}1,NA,3,4,cat\n", "column logit_dog: row 0 (from 0): expected a number, got 'NA'"),
        (
            f"{HEAD}{ROW}1,2,3,4,cta\n",
            "row 1 (from 0): expected one of cat, dog, emu, fox, got 'cta'; did you",
        ),
        (f"{HEAD}1,2,3,4,NA\n", "column label: row 0 (from 0): expected one of cat, dog, emu, fox, or a num"),
        (f"{HEAD}1,2,3,4,4\n1,2,3,4,1\n", "a number from 0 to 3, got '4'; if they count from 1, subtract 1"),
    ],
)
def test_broken_tables(readers, tmp_path, text, words):
    path = tmp_path / "a.csv"
    path.write_text(text)
    said = refusals(readers, ("estimate", "submit"), path)
    assert len(said) == 1
    assert words in next(iter(said))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            gzip.compress(b"logit_a,logit_b\n1,2\n", mtime=0),
            "is called .csv, but is compressed with gzip; unpack it",
        ),
        (WHOLE, "is called .csv, but is a zip archive"),
        (b"PAR1", "is called .csv, but is a Parquet table; name it .parquet"),
        ("logit_a,größe\n1,2\n".encode("cp1252"), "it is not in UTF-8"),
        ("logit_a,logit_b\n1,2\n".encode("utf-16"), "it is not in UTF-8"),
    ],
)
def test_other_bytes_under_the_name_of_a_table(readers, tmp_path, content, words):
    (tmp_path / "a.csv").write_bytes(content)
    said = refusals(readers, ("estimate", "submit"), tmp_path / "a.csv")
    assert len(said) == 1
    assert words in next(iter(said))


def test_parquet_tables_are_held_against_the_same_rules(readers, tmp_path):
    path = tmp_path / "a.parquet"
    columns = [pa.array([1.0]), pa.array([2.0]), pa.array([3.0])]
    pq.write_table(pa.Table.from_arrays(columns, names=["logit_cat", "logit_dog", "logit_dog "]), path)
    said = refusals(readers, ("estimate", "submit"), path)
    assert len(said) == 1
    assert "two columns are called 'logit_dog'" in next(iter(said))
    pd.DataFrame({f"logit_{name}": [True, False] for name in CLASSES}).to_parquet(path)
    said = refusals(readers, ("estimate", "submit"), path)
    assert len(said) == 1
    assert "column logit_cat: row 0 (from 0): expected a number, got 'True'" in next(iter(said))


def test_columns_without_names_are_left_out(tmp_path):
    """As pandas writes its row numbers, and as commas at the end of every line make them."""
    frame = pd.DataFrame(OWN.logits, columns=[f"logit_{name}" for name in CLASSES])
    frame.to_csv(tmp_path / "a.csv")
    text = (tmp_path / "a.csv").read_text().replace("\n", ",\n")
    (tmp_path / "a.csv").write_text(text)
    read = read_set(tmp_path / "a.csv", labelled=False)
    assert np.allclose(read.predictions.logits, OWN.logits)
    assert list(read.columns) == []


def test_every_row_below_the_head_is_read(tmp_path):
    """Whatever lines the head takes, blank ones before it and quoted ones in it."""
    for head in (f"\n\n{HEAD}", f'"logit_cat\nx",{HEAD[10:]}', "\ufeff" + HEAD, HEAD.replace(",", " , ")):
        (tmp_path / "a.csv").write_text(f"{head}1,2,3,4,dog\n\n4,3,2,1,emu\n", encoding="utf-8")
        read = read_set(tmp_path / "a.csv", labelled=True)
        assert read.predictions.logits.tolist() == [[1, 2, 3, 4], [4, 3, 2, 1]]
        assert read.predictions.labels.tolist() == [1, 2]
    (tmp_path / "a.csv").write_text(f"{HEAD}True,2,3,4,dog\nTrue,3,2,1,emu\n")
    with pytest.raises(InvalidInputError, match=r"column logit_cat: row 0 .* a number, got 'True'"):
        read_set(tmp_path / "a.csv", labelled=True)
