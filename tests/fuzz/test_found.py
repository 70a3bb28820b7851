"""Inputs on which a reader once failed without a word for it."""

import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shiftcast.cards.base import read_card
from shiftcast.cards.recipe import Recipe
from shiftcast.errors import CardError, InvalidInputError
from shiftcast.estimate.inputs import read_set
from shiftcast.submission.create import import_run, make_claim


def test_a_number_of_thousands_of_digits_is_no_toml(tmp_path):
    """Python turns no such text into a number, and `tomllib` passes that on as it is."""
    (tmp_path / "a.toml").write_text("epochs = " + "9" * 5000)
    with pytest.raises(CardError, match=r"a\.toml: is not valid TOML: Exceeds the limit"):
        read_card(Recipe, tmp_path / "a.toml")


def test_a_number_that_cannot_be_written_out_is_refused(tmp_path):
    """In base 16 it is read, and then not shown."""
    (tmp_path / "a.toml").write_text("title = 0x" + "f" * 5000)
    with pytest.raises(CardError, match=r"title: .* \(got a whole number of thousands of digits\)"):
        read_card(Recipe, tmp_path / "a.toml")


@pytest.mark.parametrize(
    "change", [{"index_columns": None}, {"columns": [{}]}, {"columns": [{"name": "logit_a"}]}]
)
def test_a_parquet_file_whose_notes_for_pandas_are_wrong_is_refused(tmp_path, change):
    """The reader takes these notes on trust, and fails with KeyError or TypeError."""
    table = pa.Table.from_pandas(
        pd.DataFrame(np.eye(4), columns=["logit_a", "logit_b", "logit_c", "logit_d"])
    )
    notes = json.loads(table.schema.metadata[b"pandas"])
    notes = {key: value for key, value in (notes | change).items() if value is not None}
    pq.write_table(table.replace_schema_metadata({b"pandas": json.dumps(notes)}), tmp_path / "a.parquet")
    with pytest.raises(InvalidInputError, match=r"a\.parquet: cannot be read as a table"):
        read_set(tmp_path / "a.parquet", labelled=False)


def test_text_in_a_parquet_file_that_is_no_text_is_refused(tmp_path):
    """It is decoded when somebody looks at it, which was too late."""
    stream = io.BytesIO()
    pd.DataFrame({"logit_a": [0.0], "logit_b": [1.0], "label": ["xyzzy"]}).to_parquet(
        stream, compression=None
    )
    (tmp_path / "a.parquet").write_bytes(stream.getvalue().replace(b"xyzzy", b"\xaa\xbbzzy"))
    with pytest.raises(InvalidInputError, match=r"a\.parquet: cannot be read as a table"):
        read_set(tmp_path / "a.parquet", labelled=False)


def test_a_damaged_parquet_file_is_refused(tmp_path):
    stream = io.BytesIO()
    pd.DataFrame({"logit_a": [0.0], "logit_b": [1.0]}).to_parquet(stream)
    (tmp_path / "a.parquet").write_bytes(stream.getvalue()[:-20])
    with pytest.raises(InvalidInputError, match=r"a\.parquet: cannot be read as a table"):
        read_set(tmp_path / "a.parquet", labelled=False)


@pytest.mark.parametrize("digits", [310, 4000])
def test_a_whole_number_beyond_floats_is_refused(tmp_path, zoo, digits):
    """Pandas keeps it and fails with OverflowError where floats are wanted; older ones make it infinite."""
    (tmp_path / "own.csv").write_text(f"logit_a,logit_b\n{'9' * digits},0\n")
    with pytest.raises(InvalidInputError, match=r"own\.csv: column logit_a: row 0 .* a number, got '9999"):
        read_set(tmp_path / "own.csv", labelled=False)
    rows = [f"zoo-test,{'9' * digits},0,0,0", *["zoo-test,1,2,3,4"] * 239]
    (tmp_path / "all.csv").write_text("\n".join(["set,logit_cat,logit_dog,logit_emu,logit_fox", *rows]))
    claim = make_claim(zoo.workspace, "net", 0, "net", None, "")
    with pytest.raises(InvalidInputError, match=r"column logit_cat: row 0 .* expected a number, got '9999"):
        import_run(zoo.workspace, zoo.workspace.suite("zoo"), tmp_path / "all.csv", claim, zoo.results)
