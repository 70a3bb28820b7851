"""Looking for files that a person has, in folders some of which are closed."""

from __future__ import annotations

import os

import pytest

from shiftcast.cards.dataset import Download
from shiftcast.data.download import local_files as local
from shiftcast.errors import MissingDataError


@pytest.fixture
def closed(tmp_path, monkeypatch):
    """A folder that nobody may look into, not even the one for whom permissions do not count."""
    place = tmp_path / "a-lost+found"
    place.mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "set.bin").write_bytes(b"set")
    scan, access = os.scandir, os.access

    def refuse(path):
        if os.fspath(path) == str(place):
            raise PermissionError(13, "Permission denied", str(place))
        return scan(path)

    monkeypatch.setattr(local.os, "scandir", refuse)
    monkeypatch.setattr(local.os, "access", lambda path, mode: path != place and access(path, mode))
    return place


def test_folders_that_are_closed_are_passed_over(tmp_path, closed):
    download = Download(file="set.bin", urls=["http://localhost/set.bin"])
    found, problems = local.find_download(download, tmp_path, None)
    assert found.path == tmp_path / "b" / "set.bin"
    assert problems == []


def test_a_closed_folder_that_is_named_is_said_to_be(closed):
    with pytest.raises(MissingDataError, match="you may not look into this folder"):
        local.require_folder(closed)


def test_a_folder_that_closes_while_it_is_looked_at_holds_nothing(closed, monkeypatch):
    monkeypatch.setattr(local.os, "access", lambda *_: True)
    assert list(local._folders(closed)) == []
