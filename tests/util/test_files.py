import errno
import os

import pytest

from shiftcast.errors import InvalidInputError
from shiftcast.util.files import read_regular, write_atomic
from shiftcast.util.hashing import canonical_json, hash_of, sha256


def test_equal_values_have_equal_canonical_text():
    assert canonical_json({"b": [1, 2.5], "a": None}) == '{"a":null,"b":[1,2.5]}'
    assert hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1})


def test_nan_has_no_canonical_text():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


def test_sha256_is_the_published_one():
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_writes_text_and_makes_folders(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_atomic(path, "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    with pytest.raises(InvalidInputError, match="a: is a symbolic link; expected a file: put a copy in its"):
        read_regular(tmp_path / "a", 10)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_leaves_the_previous_file(tmp_path, monkeypatch, error):
    path = tmp_path / "run.json"
    write_atomic(path, "old")

    def fail(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]
