"""Archives that try to escape, to fill the disk, or are none."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftcast.data.download.unpack import Limits, unpack
from shiftcast.errors import DataError, ShiftcastError

GOOD = {"set/a.npy": b"one", "set/b/c.npy": b"two" * 500, "set/notes.txt": b"no", "other/a.npy": b"no"}


def write_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.name = name
            data = content if isinstance(content, bytes) else b""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def special(kind, target=""):
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def files_in(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("kind", ["w:gz", "w:xz", "w:bz2", "w", "zip"])
def test_just_what_matches_is_unpacked_with_its_path(tmp_path, kind):
    path = tmp_path / "archive"
    write = write_zip if kind == "zip" else lambda path, members: write_tar(path, members, kind)
    write(path, GOOD.items())
    names = unpack(path, ["set/*.npy"], tmp_path / "out")
    assert names == ["set/a.npy", "set/b/c.npy"]
    assert files_in(tmp_path / "out") == {name: GOOD[name] for name in names}


def test_pickles_are_left_where_they_are(tmp_path):
    path = write_tar(tmp_path / "a.tar", [*GOOD.items(), ("set/d.PKL", b"p"), ("set/e.pickle", b"p")], "w")
    assert not any(
        "pick" in name.lower() or "pkl" in name.lower() for name in unpack(path, ["*"], tmp_path / "o")
    )


def test_dots_and_folders_are_harmless(tmp_path):
    folder = special(tarfile.DIRTYPE)
    path = write_tar(tmp_path / "a", [("./set", folder), ("./set//a.npy", b"one")])
    assert unpack(path, ["set/*"], tmp_path / "out") == ["set/a.npy"]


def test_permissions_of_an_archive_are_not_taken_over(tmp_path):
    info = tarfile.TarInfo("set/a.npy")
    info.mode = 0o6777
    with tarfile.open(tmp_path / "a", "w") as archive:
        archive.addfile(info)
    unpack(tmp_path / "a", ["set/*"], tmp_path / "out")
    assert not (tmp_path / "out/set/a.npy").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)


ESCAPES = [
    "/etc/evil",
    "../evil",
    "set/../../evil",
    "..\\evil",
    "C:\\evil",
    "\\\\host\\share\\evil",
    "c:evil",
]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_members_that_escape_are_refused_even_if_nobody_asked_for_them(tmp_path, name, write):
    path = write(tmp_path / "a", [(name, b"x"), *GOOD.items()])
    with pytest.raises(DataError, match="would be unpacked outside its folder"):
        unpack(path, ["set/*"], tmp_path / "out")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    ("member", "word"),
    [
        (special(tarfile.SYMTYPE, "/etc/passwd"), "link"),
        (special(tarfile.LNKTYPE, "set/a.npy"), "link"),
        (special(tarfile.CHRTYPE), "device"),
        (special(tarfile.BLKTYPE), "device"),
        (special(tarfile.FIFOTYPE), "device"),
        (special(tarfile.CONTTYPE), None),
    ],
)
def test_links_and_devices_are_refused(tmp_path, member, word):
    path = write_tar(tmp_path / "a", [*GOOD.items(), ("set/x", member)])
    if word is None:
        unpack(path, ["set/*"], tmp_path / "out")
        return
    with pytest.raises(DataError, match=f"'set/x' is a {word}"):
        unpack(path, ["set/*"], tmp_path / "out")


def test_a_file_below_a_link_is_no_way_out(tmp_path):
    (tmp_path / "victim").mkdir()
    path = write_tar(tmp_path / "a", [("set/x", special(tarfile.SYMTYPE, "../../victim")), ("set/x/y", b"e")])
    unpack(path, ["set/x/*"], tmp_path / "out")
    assert not list((tmp_path / "victim").iterdir())


@pytest.mark.parametrize(("mode", "word"), [(stat.S_IFLNK, "link"), (stat.S_IFIFO, "device")])
def test_links_and_devices_in_zips_are_refused(tmp_path, mode, word):
    info = zipfile.ZipInfo("set/x")
    info.create_system, info.external_attr = 3, (mode | 0o777) << 16
    path = write_zip(tmp_path / "a", [(info, b"/etc/passwd")])
    with pytest.raises(DataError, match=f"is a {word}"):
        unpack(path, ["set/*"], tmp_path / "out")


@pytest.mark.parametrize("second", ["set/a.npy", "./set/a.npy", "set//a.npy"])
def test_duplicates_are_refused(tmp_path, second):
    path = write_tar(tmp_path / "a", [("set/a.npy", b"1"), (second, b"2")])
    with pytest.raises(DataError, match="is there twice"):
        unpack(path, ["set/*"], tmp_path / "out")


@pytest.mark.parametrize("write", [write_tar, write_zip])
@pytest.mark.parametrize("limits", [Limits(members=3), Limits(size=1000)])
def test_what_is_beyond_measure_is_refused(tmp_path, write, limits):
    path = write(tmp_path / "a", GOOD.items())
    with pytest.raises(DataError, match="expected at most"):
        unpack(path, ["set/*"], tmp_path / "out", limits)


def test_a_bomb_is_not_unpacked(tmp_path):
    path = write_zip(tmp_path / "a", [("set/a", bytes(20_000_000))])
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match="got 1 and 20,000,000"):
        unpack(path, ["*"], tmp_path / "out", Limits(size=1_000_000))
    assert not files_in(tmp_path / "out")


def test_a_header_that_asks_for_gigabytes_gets_no_memory(tmp_path):
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 4 << 30
    (tmp_path / "a").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(4096)))
    with pytest.raises(DataError, match="a header asks for"):
        unpack(tmp_path / "a", ["*"], tmp_path / "out")


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path):
    path = write_zip(tmp_path / "a", [("set/a", b"x" * 1000)])
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02") + 24
    data[place : place + 4] = (10).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DataError):
        unpack(path, ["set/*"], tmp_path / "out")


def test_a_file_where_a_folder_is_needed(tmp_path):
    path = write_tar(tmp_path / "a", [("set/a", b"1"), ("set/a/b", b"2")])
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(path, ["set/*"], tmp_path / "out")


def test_a_pattern_that_matches_nothing_is_named(tmp_path):
    path = write_tar(tmp_path / "a", GOOD.items())
    with pytest.raises(DataError, match=r"no member matches 'set/\*\.bin'"):
        unpack(path, ["set/*.npy", "set/*.bin"], tmp_path / "out")


@pytest.mark.parametrize("cut", [100, 400, 1500])
def test_a_cut_archive_is_refused(tmp_path, cut):
    path = write_tar(tmp_path / "a", [("set/a", os.urandom(2000))])
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError):
        unpack(path, ["set/*"], tmp_path / "out")


def test_an_encrypted_zip_is_refused(tmp_path):
    path = write_zip(tmp_path / "a", [("set/a", b"x" * 100)])
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="password"):
        unpack(path, ["set/*"], tmp_path / "out")


def archive_bytes(kind):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        (write_zip(path, GOOD.items()) if kind == "zip" else write_tar(path, GOOD.items(), kind))
        return path.read_bytes()


ARCHIVES = [archive_bytes(kind) for kind in ("w", "w:gz", "w:bz2", "w:xz", "zip")]
STARTS = [b"", b"PK", b"PK\x03\x04", b"\x1f\x8b", b"\x1f\x8b\x08\x00", b"BZh9", b"\xfd7zXZ\x00"]


def ends_well(data):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "a").write_bytes(data)
        with suppress(ShiftcastError):
            unpack(root / "a", ["*"], root / "in" / "out", Limits(members=50, size=100_000))
        assert {path.name for path in root.iterdir()} <= {"a", "in"}
        assert [path.name for path in (root / "in").iterdir()] == ["out"]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STARTS), st.binary(max_size=2000))
def test_random_bytes_end_only_in_our_errors(start, data):
    ends_well(start + data)


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(ARCHIVES),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=20),
    st.floats(0, 1),
)
def test_damaged_archives_end_only_in_our_errors(archive, changes, kept):
    data = bytearray(archive)
    for place, value in changes:
        data[int(place * len(data))] = value
    ends_well(bytes(data[: int(kept * len(data)) or len(data)]))
