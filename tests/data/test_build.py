"""Builders, on archives in the publishers' layouts that the tests make."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from shiftcast.cards.dataset import DatasetCard
from shiftcast.data import fingerprint
from shiftcast.data.build import MAX_BYTES, build_dataset
from shiftcast.data.download.unpack import Limits
from shiftcast.data.loading import load_dataset
from shiftcast.errors import DataError, MissingDataError, ShiftcastError

RANDOM = np.random.RandomState(0)
SMALL = RANDOM.randint(0, 256, (8, 32, 32, 3)).astype(np.uint8)


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def card(**changes):
    values = {
        "name": "made",
        "title": "t",
        "description": "d",
        "layout": "arrays",
        "path": "made",
        "files": ["images.npy", "labels.npy"],
        "classes": ["airplane", "cat", "ship"],
        "n": 3,
        "shift": "natural",
        "citation": "c",
        "licence": "l",
        "obtain": "o",
        "downloads": [{"file": "archive", "urls": ["https://example.org/archive"]}],
    }
    return DatasetCard.model_validate(values | changes)


def put_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            if data is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
                continue
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def put_zip(path, members, kind=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, b"" if data is None else data)
    return path


def loaded(folder):
    return {path.name: np.load(path) for path in (folder / "made").iterdir()}


CINIC = {
    "train": None,
    "train/cat/n02_1.png": png(SMALL[0]),
    "train/cat/cifar10-train-1.png": png(SMALL[6]),
    "valid/ship/n04_7.png": png(SMALL[1]),
    "valid/monkey/n09_1.png": png(SMALL[2]),
    "test/airplane/n03_5.png": png(SMALL[3]),
    "test/cat/n02_9.png": png(SMALL[4]),
    "README.md": b"CINIC",
}
WANTED = [(3, 0), (0, 1), (1, 2)]
"""Positions in `SMALL` and labels of the images that the list names, in its order."""

CINIC_PATTERN = r"(?:.*/)?(?:train|valid|test)/(?P<class>[a-z]+)/n[0-9]+_[0-9]+\.png"


def digest(pixels):
    return hashlib.sha256(pixels.tobytes()).hexdigest()[:16]


class TestSelection:
    @pytest.fixture
    def cards(self, tmp_path):
        folder = tmp_path / "cards"
        folder.mkdir()
        lines = [f"{digest(SMALL[place])} {label}\n" for place, label in WANTED]
        (folder / "made.hashes").write_text("".join(lines))
        return folder

    def card(self, **changes):
        build = {"kind": "selection", "archive": "archive", "pattern": CINIC_PATTERN, "hashes": "made.hashes"}
        return card(build=build, **changes)

    @pytest.mark.parametrize("mode", ["w:gz", "w", "w:xz"])
    @pytest.mark.parametrize("prefix", ["", "./", "CINIC-10/"])
    def test_the_images_listed_are_written_in_the_order_of_the_list(self, tmp_path, cards, mode, prefix):
        members = {prefix + name: data for name, data in CINIC.items()}
        archive = put_tar(tmp_path / "archive", members, mode)
        build_dataset(self.card(), archive, tmp_path, cards)
        found = loaded(tmp_path)
        assert set(found) == {"images.npy", "labels.npy"}
        assert np.array_equal(found["images.npy"], SMALL[[3, 0, 1]])
        assert found["labels.npy"].tolist() == [0, 1, 2]
        data = load_dataset(self.card(), tmp_path)
        build_dataset(self.card(fingerprint=fingerprint(data.images, data.labels)), archive, tmp_path, cards)

    def test_missing_images_are_counted_and_nothing_is_written(self, tmp_path, cards):
        members = {name: data for name, data in CINIC.items() if not name.startswith("test/airplane")}
        archive = put_tar(tmp_path / "archive", members)
        with pytest.raises(
            DataError, match=r"holds 2 of the 3 images that made\.hashes lists; 1 are missing"
        ):
            build_dataset(self.card(), archive, tmp_path, cards)
        assert not (tmp_path / "made").exists()

    def test_the_same_pixels_in_another_class_are_another_image(self, tmp_path, cards):
        members = dict(CINIC) | {"test/cat/n05_5.png": CINIC["test/airplane/n03_5.png"]}
        del members["test/airplane/n03_5.png"]
        with pytest.raises(DataError, match="1 are missing"):
            build_dataset(self.card(), put_tar(tmp_path / "archive", members), tmp_path, cards)

    def test_reading_stops_when_all_are_found(self, tmp_path, cards):
        members = dict(CINIC) | {"test/cat/n99_1.png": b"not reached"}
        build_dataset(self.card(), put_tar(tmp_path / "archive", members), tmp_path, cards)
        assert len(loaded(tmp_path)["labels.npy"]) == 3

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (png(SMALL[5])[:-30], "cannot be read as a PNG image"),
            (png(SMALL[5][:31]), "expected an image of 32 x 32 pixels, got 32 x 31"),
            (b"x" * (MAX_BYTES + 1), f"at most {MAX_BYTES} bytes, got {MAX_BYTES + 1}"),
        ],
    )
    def test_a_damaged_image_is_refused_by_name(self, tmp_path, cards, data, message):
        members = {"train/cat/n00_0.png": data, **CINIC}
        with pytest.raises(DataError, match=rf"archive, train/cat/n00_0\.png: .*{message}"):
            build_dataset(self.card(), put_tar(tmp_path / "archive", members), tmp_path, cards)
        assert not (tmp_path / "made").exists()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("3fe801fc3418c490 1\n" * 3, "expected 3 distinct lines, got 3, 1 of them distinct"),
            ("3fe801fc3418c490 1\n", "expected 3 distinct lines, got 1"),
            ("3fe801fc3418c490 3\n", "line 1: .* a label below 3, got '3fe801fc3418c490 3'"),
            ("3FE801FC3418C490 1\n", "line 1: expected 16 hexadecimal digits"),
            ("3fe801fc3418c490 0\n\n", "line 2: expected 16 hexadecimal digits"),
        ],
    )
    def test_another_list_is_refused_by_line(self, tmp_path, cards, text, message):
        (cards / "made.hashes").write_text(text)
        archive = put_tar(tmp_path / "archive", CINIC)
        with pytest.raises(DataError, match=rf"made\.hashes: {message}"):
            build_dataset(self.card(), archive, tmp_path, cards)

    def test_a_list_that_contradicts_the_fingerprint_is_refused(self, tmp_path, cards):
        archive = put_tar(tmp_path / "archive", CINIC)
        with pytest.raises(DataError, match="than the card's fingerprint says"):
            build_dataset(self.card(fingerprint="0" * 64), archive, tmp_path, cards)

    def test_a_missing_list_or_archive_is_named(self, tmp_path, cards):
        with pytest.raises(MissingDataError, match="missing archive; looked in"):
            build_dataset(self.card(), tmp_path / "archive", tmp_path, cards)
        archive = put_tar(tmp_path / "archive", CINIC)
        with pytest.raises(MissingDataError, match=r"missing made\.hashes.*comes with the card"):
            build_dataset(self.card(), archive, tmp_path, tmp_path)


LARGE = RANDOM.randint(0, 256, (8, 32, 32, 3)).astype(np.uint8)
"""Images that come back from enlarging and shrinking, since each pixel becomes a block of 7 x 7."""


def large(place):
    return png(LARGE[place].repeat(7, axis=0).repeat(7, axis=1))


TREE = {
    "repo-1b69/stimuli/style/boat/boat2-clock1.png": large(0),
    "repo-1b69/stimuli/style/boat/boat10-oven3.png": large(1),
    "repo-1b69/stimuli/style/cat/cat2-clock3.png": large(2),
    "repo-1b69/stimuli/edges/boat/boat2.png": large(3),
    # A pair without conflict, a texture of a class of ours, and classes without a counterpart.
    "repo-1b69/stimuli/style/boat/boat2-boat1.png": b"never looked at",
    "repo-1b69/stimuli/style/cat/cat1-boat1.png": b"never looked at",
    "repo-1b69/stimuli/style/bear/bear1-clock1.png": b"never looked at",
    "repo-1b69/stimuli/edges/bear/bear1.png": b"never looked at",
    "repo-1b69/stimuli/edges/oven/oven1.png": b"never looked at",
    "repo-1b69/stimuli/edges/": None,
    "repo-1b69/README.md": b"about",
}
TREE_PATTERN = (
    r"[^/]+/stimuli/(?:style|edges)/(?P<class>[a-z]+)/"
    r"(?P<cluster>[a-z]+[0-9]+)(?:-(?:clock|oven)[0-9]+)?\.png"
)


class TestImageTree:
    def card(self, **changes):
        build = {"kind": "image-tree", "archive": "archive", "pattern": TREE_PATTERN}
        kinds = {"boat": "ship", "cat": "cat"}
        return card(**{"build": build, "clusters": "clusters.npy", "class_map": kinds, "n": 4} | changes)

    @pytest.mark.parametrize("put", [put_zip, put_tar])
    def test_images_are_shrunk_mapped_and_in_order_of_path(self, tmp_path, put):
        said = []
        build_dataset(self.card(), put(tmp_path / "archive", TREE), tmp_path, tmp_path, said.append)
        found = loaded(tmp_path)
        # edges/boat/boat2, style/boat/boat10-oven3, style/boat/boat2-clock1, style/cat/cat2-clock3
        assert np.array_equal(found["images.npy"], LARGE[[3, 1, 0, 2]])
        assert found["labels.npy"].tolist() == [2, 2, 2, 1]
        assert found["clusters.npy"].tolist() == [0, 1, 0, 2]
        assert said == [
            "3 images of 2 classes without a counterpart were left out (2 bear, 1 oven)",
        ]
        assert load_dataset(self.card(), tmp_path).clusters.tolist() == [0, 1, 0, 2]

    def test_the_order_of_the_archive_is_no_matter(self, tmp_path):
        for name, members in (("a", TREE), ("b", dict(reversed(TREE.items())))):
            build_dataset(self.card(), put_zip(tmp_path / f"{name}.zip", members), tmp_path / name, tmp_path)
        first, second = loaded(tmp_path / "a"), loaded(tmp_path / "b")
        assert all(np.array_equal(first[name], second[name]) for name in first)

    def test_without_clusters_there_is_no_file_of_them(self, tmp_path):
        pattern = TREE_PATTERN.replace("?P<cluster>", "?:")
        build = {"kind": "image-tree", "archive": "archive", "pattern": pattern}
        build_dataset(
            self.card(build=build, clusters=""), put_zip(tmp_path / "archive", TREE), tmp_path, tmp_path
        )
        assert set(loaded(tmp_path)) == {"images.npy", "labels.npy"}

    def test_another_number_is_refused_with_what_was_left_out(self, tmp_path):
        archive = put_zip(tmp_path / "archive", TREE)
        with pytest.raises(DataError, match=r"expected 5 images .* got 4; 3 images of 2 classes .*2 bear"):
            build_dataset(self.card(n=5), archive, tmp_path, tmp_path)
        assert not (tmp_path / "made").exists()

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (large(5)[:-30], "cannot be read as a PNG image"),
            (b"<html>", "is an HTML page"),
            (png(LARGE[5][:31]), "expected a square image of at least 32 pixels a side, got 32 x 31"),
            (png(LARGE[5][:31, :31]), "got 31 x 31"),
        ],
    )
    def test_a_damaged_image_is_refused_by_name(self, tmp_path, data, message):
        name = "repo-1b69/stimuli/edges/cat/cat3.png"
        with pytest.raises(DataError, match=rf"archive, {name}: .*{message}"):
            build_dataset(
                self.card(n=5), put_zip(tmp_path / "archive", TREE | {name: data}), tmp_path, tmp_path
            )
        assert not (tmp_path / "made").exists()


class TestArchives:
    CARD = TestImageTree().card()

    @pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.95])
    @pytest.mark.parametrize("put", [put_zip, put_tar])
    def test_a_truncated_archive_is_refused(self, tmp_path, put, part):
        whole = put(tmp_path / "whole", TREE).read_bytes()
        (tmp_path / "archive").write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(DataError, match="archive"):
            build_dataset(self.CARD, tmp_path / "archive", tmp_path, tmp_path)
        assert not (tmp_path / "made").exists()

    def test_a_header_that_asks_for_gigabytes_gets_no_memory(self, tmp_path):
        header = tarfile.TarInfo("pax")
        header.type, header.size = tarfile.XHDTYPE, 600 << 20
        (tmp_path / "archive").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(4096)))
        with pytest.raises(DataError, match="a header asks for"):
            build_dataset(self.CARD, tmp_path / "archive", tmp_path, tmp_path)

    @pytest.mark.parametrize("put", [put_zip, put_tar])
    @pytest.mark.parametrize(
        ("limits", "extra", "message"),
        [
            (Limits(members=3), {}, "expected at most 3 members"),
            (Limits(size=1000), {}, "and 1,000 bytes"),
            (Limits(), {"../evil": b"x"}, "would be unpacked outside its folder"),
        ],
    )
    def test_what_is_beyond_measure_is_refused(self, tmp_path, monkeypatch, put, limits, extra, message):
        monkeypatch.setattr("shiftcast.data.download.unpack.Limits", lambda: limits)
        with pytest.raises(DataError, match=message):
            build_dataset(self.CARD, put(tmp_path / "archive", TREE | extra), tmp_path, tmp_path)

    def test_a_web_page_is_named_as_such(self, tmp_path):
        (tmp_path / "archive").write_bytes(b"<!DOCTYPE html><html></html>")
        with pytest.raises(DataError, match="is an HTML page"):
            build_dataset(self.CARD, tmp_path / "archive", tmp_path, tmp_path)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
    @given(data=st.binary(max_size=96), keep=st.integers(0, 5000), put=st.sampled_from([put_zip, put_tar]))
    def test_random_bytes_end_in_our_errors_only(self, tmp_path, data, keep, put):
        valid = put(tmp_path / "whole", {name: TREE[name] for name in list(TREE)[:4]}).read_bytes()
        (tmp_path / "archive").write_bytes(valid[:keep] + data + valid[keep + len(data) :])
        with suppress(ShiftcastError):
            build_dataset(self.CARD, tmp_path / "archive", tmp_path, tmp_path)

    def test_a_card_without_build_is_refused(self, tmp_path):
        with pytest.raises(DataError, match=r"'made': its card has no \[build\]"):
            build_dataset(card(), tmp_path / "archive", tmp_path, tmp_path)


class TestWriting:
    CARD = TestImageTree().card()

    def test_earlier_arrays_are_replaced(self, tmp_path):
        (tmp_path / "made").mkdir()
        (tmp_path / "made" / "images.npy").write_bytes(b"damaged")
        build_dataset(self.CARD, put_zip(tmp_path / "archive", TREE), tmp_path, tmp_path)
        assert set(loaded(tmp_path)) == {"images.npy", "labels.npy", "clusters.npy"}

    def test_a_failure_leaves_what_was_there(self, tmp_path, monkeypatch):
        archive = put_zip(tmp_path / "archive", TREE)
        build_dataset(self.CARD, archive, tmp_path, tmp_path)
        before = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("shiftcast.data.build.np.save", full)
        with pytest.raises(DataError, match=r"made: cannot be written to \(No space left on device\)"):
            build_dataset(self.CARD, archive, tmp_path, tmp_path)
        assert {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()} == before

    def test_a_file_in_place_of_the_folder_is_refused(self, tmp_path):
        (tmp_path / "made").write_text("a file")
        with pytest.raises(DataError, match="made: cannot be written to"):
            build_dataset(self.CARD, put_zip(tmp_path / "archive", TREE), tmp_path, tmp_path)
