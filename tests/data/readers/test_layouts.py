"""Readers, on small files in the publishers' formats that the tests write."""

from __future__ import annotations

import io
import pickle
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from shiftcast.data import fingerprint, read_arrays, read_cifar10_binary, read_digits
from shiftcast.data.readers.layouts import read_npz
from shiftcast.errors import DataError, InvalidInputError, MissingDataError, ShiftcastError, UnknownNameError

PAGE = b"\n<!DOCTYPE html><html><body>404</body></html>"
IMAGES = np.random.RandomState(0).randint(0, 256, (5, 32, 32, 3)).astype(np.uint8)
LABELS = np.array([3, 1, 4, 1, 9])
ON_ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def binary_rows(images, labels):
    """Return bytes of the CIFAR-10 binary version, value by value as its page describes them."""
    out = bytearray()
    for image, label in zip(images, labels, strict=True):
        out.append(label)
        for channel in range(3):
            for row in range(32):
                out += bytes(image[row, :, channel].tolist())
    return bytes(out)


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


class TestCifar10Binary:
    def test_reads_files_in_the_order_given(self, tmp_path):
        (tmp_path / "a.bin").write_bytes(binary_rows(IMAGES[:2], LABELS[:2]))
        (tmp_path / "b.bin").write_bytes(binary_rows(IMAGES[2:], LABELS[2:]))
        data = read_cifar10_binary(tmp_path, ["a.bin", "b.bin"])
        assert (data.images == IMAGES).all()
        assert data.labels.tolist() == LABELS.tolist()
        assert data.labels.dtype == np.int64
        assert data.images.flags.c_contiguous
        assert len(data) == 5
        swapped = read_cifar10_binary(tmp_path, ["b.bin", "a.bin"])
        assert swapped.labels.tolist() == [4, 1, 9, 3, 1]

    def test_names_every_missing_file_and_the_folder(self, tmp_path):
        (tmp_path / "there.bin").write_bytes(binary_rows(IMAGES, LABELS))
        with pytest.raises(MissingDataError) as caught:
            read_cifar10_binary(tmp_path, ["one.bin", "there.bin", "two.bin"])
        assert "missing one.bin, two.bin" in str(caught.value)
        assert str(tmp_path) in str(caught.value)
        assert "there.bin" not in str(caught.value)

    @pytest.mark.parametrize("cut", [1, 3072, -1])
    def test_a_truncated_file_is_refused_with_sizes(self, tmp_path, cut):
        data = binary_rows(IMAGES, LABELS)[:-cut] if cut > 0 else b""
        (tmp_path / "a.bin").write_bytes(data)
        with pytest.raises(DataError, match=rf"a\.bin: expected rows of 3073 bytes.*got {len(data)} bytes"):
            read_cifar10_binary(tmp_path, ["a.bin"])

    def test_a_label_above_nine_is_refused(self, tmp_path):
        (tmp_path / "a.bin").write_bytes(binary_rows(IMAGES, [0, 1, 10, 200, 2]))
        with pytest.raises(DataError, match=r"expected labels from 0 to 9, got 10 in row 2 \(2 such rows\)"):
            read_cifar10_binary(tmp_path, ["a.bin"])

    def test_a_web_page_is_named_as_such(self, tmp_path):
        (tmp_path / "a.bin").write_bytes(PAGE)
        with pytest.raises(DataError, match=r"a\.bin: is an HTML page"):
            read_cifar10_binary(tmp_path, ["a.bin"])

    def test_no_files_is_refused(self, tmp_path):
        with pytest.raises(DataError, match="no file names"):
            read_cifar10_binary(tmp_path, [])

    @ON_ONE_FOLDER
    @given(data=st.one_of(st.binary(max_size=64), st.binary(min_size=3073, max_size=3073)))
    def test_random_bytes_end_in_our_errors_only(self, tmp_path, data):
        (tmp_path / "a.bin").write_bytes(data)
        with suppress(ShiftcastError):
            read_cifar10_binary(tmp_path, ["a.bin"])


class TestArrays:
    def write(self, folder, images, labels=None):
        (folder / "images.npy").write_bytes(images)
        if labels is None:
            return folder / "images.npy", None
        (folder / "labels.npy").write_bytes(labels)
        return folder / "images.npy", folder / "labels.npy"

    @pytest.mark.parametrize("dtype", ["uint8", "int32", ">i8"])
    def test_reads_pairs(self, tmp_path, dtype):
        data = read_arrays(*self.write(tmp_path, npy(IMAGES), npy(LABELS.astype(dtype))))
        assert (data.images == IMAGES).all()
        assert type(data.images) is np.ndarray
        assert data.labels.dtype == np.int64
        assert data.labels.tolist() == LABELS.tolist()

    def test_labels_are_optional_and_other_sizes_are_kept(self, tmp_path):
        data = read_arrays(*self.write(tmp_path, npy(np.asfortranarray(IMAGES[:, :20, :30]))))
        assert data.labels is None
        assert data.images.shape == (5, 20, 30, 3)
        assert data.images.flags.c_contiguous
        assert (data.images == IMAGES[:, :20, :30]).all()

    def test_clusters_are_read_beside_the_images(self, tmp_path):
        paths = self.write(tmp_path, npy(IMAGES), npy(LABELS))
        (tmp_path / "clusters.npy").write_bytes(npy(np.array([4, 4, 0, 1, 1], dtype=np.int32)))
        data = read_arrays(*paths, tmp_path / "clusters.npy")
        assert data.clusters.tolist() == [4, 4, 0, 1, 1]
        assert read_arrays(*paths).clusters is None
        (tmp_path / "clusters.npy").write_bytes(npy(np.arange(4)))
        with pytest.raises(DataError, match=r"clusters\.npy"):
            read_arrays(*paths, tmp_path / "clusters.npy")

    def test_names_every_missing_file(self, tmp_path):
        with pytest.raises(MissingDataError, match=r"missing images\.npy, labels\.npy; looked in"):
            read_arrays(tmp_path / "images.npy", tmp_path / "labels.npy")

    @pytest.mark.parametrize(
        ("images", "message"),
        [
            (npy(IMAGES.astype(np.float32)), "expected images of dtype uint8.*float32$"),
            (npy(np.full(IMAGES.shape, np.nan)), "float64, with NaN among the values"),
            (npy(IMAGES[..., :2]), r"shape \(n, H, W, 3\)"),
            (npy(IMAGES[0]), r"shape \(n, H, W, 3\)"),
            (npy(IMAGES)[:-1], "cannot be read"),
            (npy(IMAGES)[:40], "cannot be read"),
            (npy(IMAGES[:0]), "images.npy"),
            (npy(np.array([{}, []], dtype=object), allow_pickle=True), "without pickle"),
            (pickle.dumps(IMAGES), "expected a .npy array"),
            (b"PK\x03\x04 a zip archive", "expected a .npy array"),
            (b"", "expected a .npy array"),
            (PAGE, "is an HTML page"),
        ],
    )
    def test_other_images_are_refused_by_name(self, tmp_path, images, message):
        with pytest.raises(DataError, match=message) as caught:
            read_arrays(*self.write(tmp_path, images))
        assert str(tmp_path / "images.npy") in str(caught.value)

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (LABELS.astype(float), "integer dtype, got dtype float64"),
            (np.full(5, np.nan), "NaN"),
            (LABELS[:4], r"shape \(5,\), got \(4,\)"),
            (LABELS[:, None], r"shape \(5,\), got \(5, 1\)"),
            (LABELS - 2, "got -1 at position 1"),
        ],
    )
    def test_other_labels_are_refused_by_name(self, tmp_path, labels, message):
        with pytest.raises(DataError, match=message) as caught:
            read_arrays(*self.write(tmp_path, npy(IMAGES), npy(labels)))
        assert str(tmp_path / "labels.npy") in str(caught.value)

    @ON_ONE_FOLDER
    @given(data=st.binary(max_size=256), keep=st.integers(0, 128))
    def test_random_bytes_end_in_our_errors_only(self, tmp_path, data, keep):
        valid = npy(IMAGES[:1])
        with suppress(ShiftcastError):
            read_arrays(*self.write(tmp_path, valid[:keep] + data + valid[keep + len(data) :]))

    def test_a_header_that_promises_too_much_takes_no_memory(self, tmp_path):
        header = npy(IMAGES).replace(b"(5, 32, 32, 3), }       ", b"(99999999, 32, 32, 3), }")
        assert b"99999999" in header
        with pytest.raises(DataError, match="cannot be read"):
            read_arrays(*self.write(tmp_path, header))


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


WORDS = np.array(["a cat", "a dog", "a ship", "a cat", "a truck"])
CIFAR102 = {"images": IMAGES, "labels": LABELS, "ti_indices": np.arange(5), "keywords": WORDS}
"""CIFAR-10.2's arrays: images and labels, and what we do not look at."""


class TestNpz:
    def read(self, folder, data, keys=("images", "labels")):
        (folder / "test.npz").write_bytes(data)
        return read_npz(folder / "test.npz", keys)

    def test_reads_two_arrays_of_several(self, tmp_path):
        data = self.read(tmp_path, npz(**CIFAR102))
        assert np.array_equal(data.images, IMAGES)
        assert data.labels.tolist() == LABELS.tolist()
        assert data.labels.dtype == np.int64
        assert data.clusters is None

    def test_what_is_not_looked_at_may_be_pickled(self, tmp_path):
        strange = np.array([{}, [], None, 1, 2], dtype=object)
        assert len(self.read(tmp_path, npz(**CIFAR102 | {"label_names": strange}))) == 5

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(MissingDataError, match=r"missing test\.npz; looked in"):
            read_npz(tmp_path / "test.npz", ["images", "labels"])

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (npz(images=IMAGES), "expected an array named 'labels', found images"),
            (npz(), "expected an .npz file|expected an array named 'images', found nothing"),
            (
                npz(images=IMAGES.astype(np.int16), labels=LABELS),
                "test.npz, images: expected images of dtype",
            ),
            (npz(images=IMAGES, labels=LABELS[:4]), r"test.npz, labels: .*shape \(5,\), got \(4,\)"),
            (
                npz(images=IMAGES, labels=LABELS - 4),
                "test.npz, labels: expected labels of at least 0, got -1",
            ),
            (npz(images=IMAGES, labels=LABELS.astype(object)), "without pickle"),
            (npz(**CIFAR102)[:-50], "cannot be read as an .npz file"),
            (npz(**CIFAR102)[:5000], "cannot be read as an .npz file"),
            (npy(IMAGES), "expected an .npz file, got a file that begins with"),
            (pickle.dumps(CIFAR102), "expected an .npz file"),
            (b"", "expected an .npz file"),
            (PAGE, "is an HTML page"),
        ],
    )
    def test_other_files_are_refused_by_name(self, tmp_path, data, message):
        with pytest.raises(DataError, match=message) as caught:
            self.read(tmp_path, data)
        assert str(tmp_path / "test.npz") in str(caught.value)

    def test_a_member_that_is_no_array_is_refused(self, tmp_path):
        stream = io.BytesIO(npz(images=IMAGES))
        with zipfile.ZipFile(stream, "a") as archive:
            archive.writestr("labels.npy", b"3 1 4 1 9")
        with pytest.raises(DataError, match=r"expected an array named 'labels'|cannot be read"):
            self.read(tmp_path, stream.getvalue())

    @ON_ONE_FOLDER
    @given(data=st.binary(max_size=96), keep=st.integers(0, 500))
    def test_random_bytes_end_in_our_errors_only(self, tmp_path, data, keep):
        valid = npz(images=IMAGES[:1, :4, :4], labels=LABELS[:1])
        with suppress(ShiftcastError):
            self.read(tmp_path, valid[:keep] + data + valid[keep + len(data) :])


class TestDigits:
    def test_halves_are_what_the_cards_say(self):
        train, test = read_digits("train"), read_digits("test")
        assert train.images.shape == (899, 32, 32, 3)
        assert test.images.shape == (898, 32, 32, 3)
        assert set(train.labels.tolist()) == set(test.labels.tolist()) == set(range(10))
        assert fingerprint(train.images) != fingerprint(test.images)
        assert (train.images[..., 0] == train.images[..., 2]).all()
        assert train.images.min() == 0
        assert train.images.max() == 255

    def test_at_its_own_size_it_is_the_scaled_original(self):
        data = read_digits("train", size=8)
        originals = {np.round(image * 255 / 16).astype(np.uint8).tobytes() for image in load_digits().images}
        assert all(image[..., 1].tobytes() in originals for image in data.images)

    def test_other_splits_and_sizes_are_refused(self):
        with pytest.raises(UnknownNameError, match="train"):
            read_digits("training")
        with pytest.raises(InvalidInputError, match="size"):
            read_digits("train", size=0)
