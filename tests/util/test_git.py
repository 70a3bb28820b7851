"""What a git revision holds, unpacked to a folder."""

import subprocess

import pytest

from shiftcast.util.git import find_commit, unpack


@pytest.fixture
def repository(tmp_path):
    """A repository of one commit, with folders `a/b` and `c`."""
    root = tmp_path / "repository"
    for name in ("a/b", "c"):
        (root / name).mkdir(parents=True)
        (root / name / "file é.txt").write_text(name)
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "Begin"]):
        command = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        subprocess.run(command, check=True, capture_output=True)
    return root


def test_folders_come_as_they_were(repository, tmp_path):
    (repository / "c" / "file é.txt").write_text("changed since")
    top, commit = find_commit(repository / "a", "HEAD")
    assert top.resolve() == repository.resolve()
    place = tmp_path / "place"
    place.mkdir()
    assert unpack(top, commit, ["c", "a/b", "none"], place) == ["a/b", "c"]
    files = {path.relative_to(place).as_posix(): path.read_text() for path in place.rglob("*.*")}
    assert files == {"a/b/file é.txt": "a/b", "c/file é.txt": "c"}


def test_a_revision_without_the_folders_gives_none(repository, tmp_path):
    top, commit = find_commit(repository, "HEAD")
    assert unpack(top, commit, ["none"], tmp_path) == []


def test_what_names_no_commit_is_none(repository, tmp_path):
    assert find_commit(repository, "no-such-revision") is None
    assert find_commit(repository, "--all") is None
    assert find_commit(tmp_path / "nowhere", "HEAD") is None
