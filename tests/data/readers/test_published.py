"""STL-10 and CIFAR-10-C, in small files of their publishers' formats that the tests write."""

from __future__ import annotations

import hashlib
import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shiftcast.data.readers.published import cifar10_c_md5, npy_md5, read_cifar10_c, read_stl10_binary
from shiftcast.errors import DataError, MissingDataError, ShiftcastError

ON_ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
PAGE = b"<!DOCTYPE html><html></html>"

LARGE = np.random.RandomState(1).randint(0, 256, (4, 96, 96, 3)).astype(np.uint8)
STL10_NUMBERS = [0, 2, 1, None]
"""Our labels of a publisher's airplane, bird, car and monkey."""


def stl10_bytes(images):
    """Return planes of red, green, blue, each column after column, value by value."""
    out = bytearray()
    for image in images:
        for channel in range(3):
            for column in range(96):
                out += bytes(image[:, column, channel].tolist())
    return bytes(out)


def mean_of_blocks(image):
    """Return each 3 x 3 block's mean, exactly."""
    return image.astype(float).reshape(32, 3, 32, 3, 3).mean(axis=(1, 3))


def put_stl10(folder, images, labels):
    (folder / "test_X.bin").write_bytes(images)
    (folder / "test_y.bin").write_bytes(labels)
    return folder, ["test_X.bin", "test_y.bin"], STL10_NUMBERS


class TestStl10:
    def test_images_stand_upright_labels_are_ours_and_monkeys_are_left_out(self, tmp_path):
        data = read_stl10_binary(*put_stl10(tmp_path, stl10_bytes(LARGE), bytes([3, 4, 1, 2])))
        assert data.labels.tolist() == [1, 0, 2]
        assert data.labels.dtype == np.int64
        assert data.images.dtype == np.uint8
        assert data.images.shape == (3, 32, 32, 3)
        for found, large in zip(data.images, LARGE[[0, 2, 3]], strict=True):
            # Pillow rounds after the rows and again after the columns.
            assert np.abs(found - mean_of_blocks(large)).max() <= 1

    def test_flat_blocks_are_kept_to_the_value(self, tmp_path):
        small = np.random.RandomState(2).randint(0, 256, (1, 32, 32, 3)).astype(np.uint8)
        large = small.repeat(3, axis=1).repeat(3, axis=2)
        data = read_stl10_binary(*put_stl10(tmp_path, stl10_bytes(large), bytes([2])))
        assert np.array_equal(data.images, small)

    def test_both_missing_files_are_named(self, tmp_path):
        with pytest.raises(MissingDataError, match=r"missing test_X\.bin, test_y\.bin"):
            read_stl10_binary(tmp_path, ["test_X.bin", "test_y.bin"], STL10_NUMBERS)

    @pytest.mark.parametrize(
        ("images", "labels", "message"),
        [
            (
                stl10_bytes(LARGE)[:-1],
                bytes([1, 2, 3, 4]),
                "expected 4 images of 27648 bytes.*27647 bytes over",
            ),
            (stl10_bytes(LARGE[:3]), bytes([1, 2, 3, 4]), "got 82944 bytes: 3 images and 0 bytes over"),
            (b"", b"", "expected 0 images"),
            (
                stl10_bytes(LARGE),
                bytes([1, 2, 0, 4]),
                r"expected labels from 1 to 4, got 0 in row 2 \(1 such",
            ),
            (stl10_bytes(LARGE), bytes([1, 5, 5, 4]), r"got 5 in row 1 \(2 such rows\)"),
            (stl10_bytes(LARGE), bytes([4, 4, 4, 4]), "no image of the classes that are kept"),
            (PAGE, bytes([1]), "test_X.bin: is an HTML page"),
            (stl10_bytes(LARGE), PAGE, "test_y.bin: is an HTML page"),
        ],
    )
    def test_other_files_are_refused_by_name(self, tmp_path, images, labels, message):
        with pytest.raises(DataError, match=message):
            read_stl10_binary(*put_stl10(tmp_path, images, labels))

    @ON_ONE_FOLDER
    @given(images=st.binary(max_size=64), labels=st.binary(max_size=4))
    def test_random_bytes_end_in_our_errors_only(self, tmp_path, images, labels):
        with suppress(ShiftcastError):
            read_stl10_binary(*put_stl10(tmp_path, images, labels))
        with suppress(ShiftcastError):
            read_stl10_binary(*put_stl10(tmp_path, stl10_bytes(LARGE), labels))


LABELS = np.array([3, 1, 4, 1, 5, 9])
FOG = np.random.RandomState(3).randint(0, 256, (30, 32, 32, 3)).astype(np.uint8)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "fog.npy", FOG)
    np.save(tmp_path / "labels.npy", np.tile(LABELS, 5).astype(np.uint8))
    return tmp_path


class TestCifar10C:
    @pytest.mark.parametrize("severity", [1, 2, 5])
    def test_a_severity_is_a_slice_of_its_file(self, folder, severity):
        index = np.array([0, 2, 5])
        found = read_cifar10_c(folder, "fog", severity, LABELS, index)
        assert np.array_equal(found, FOG[6 * (severity - 1) : 6 * severity][index])
        assert type(found) is np.ndarray
        assert found.flags.writeable

    def test_labels_of_another_test_set_are_refused(self, folder):
        other = LABELS.copy()
        other[2] = 7
        with pytest.raises(DataError, match=r"labels\.npy: 5 of 30 labels are not those.*first in row 2"):
            read_cifar10_c(folder, "fog", 1, other, np.arange(6))
        with pytest.raises(DataError, match=r"labels\.npy: expected one label per image, shape \(25,\)"):
            read_cifar10_c(folder, "fog", 1, LABELS[:5], np.arange(5))

    def test_missing_files_are_named(self, folder):
        (folder / "labels.npy").unlink()
        with pytest.raises(MissingDataError, match=r"missing snow\.npy, labels\.npy"):
            read_cifar10_c(folder, "snow", 1, LABELS, np.arange(6))

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (npy(FOG[:29]), r"expected uint8 images of shape \(30, 32, 32, 3\).*got uint8 of shape \(29, "),
            (npy(FOG.astype(np.float32)), "got float32"),
            (npy(FOG)[:-1], "cannot be read"),
            (npy(FOG)[:60], "cannot be read"),
            (PAGE, "is an HTML page"),
            (b"PK\x03\x04", "expected a .npy array"),
        ],
    )
    def test_other_arrays_are_refused_by_name(self, folder, data, message):
        (folder / "fog.npy").write_bytes(data)
        with pytest.raises(DataError, match=message) as caught:
            read_cifar10_c(folder, "fog", 1, LABELS, np.arange(6))
        assert str(folder / "fog.npy") in str(caught.value)
        with pytest.raises(DataError, match=message):
            cifar10_c_md5(folder, ["fog"], 6)

    @ON_ONE_FOLDER
    @given(data=st.binary(max_size=160), keep=st.integers(0, 128))
    def test_random_bytes_end_in_our_errors_only(self, folder, data, keep):
        valid = npy(FOG)
        (folder / "fog.npy").write_bytes(valid[:keep] + data + valid[keep + len(data) :])
        with suppress(ShiftcastError):
            read_cifar10_c(folder, "fog", 1, LABELS, np.arange(6))


class TestIdentity:
    def test_it_is_the_md5_of_the_file_as_numpy_saves_it(self, folder):
        md5 = hashlib.md5((folder / "fog.npy").read_bytes(), usedforsecurity=False).hexdigest()
        assert npy_md5(folder / "fog.npy") == md5
        assert cifar10_c_md5(folder, ["fog"], 6) == {"fog": md5}

    def test_another_header_of_the_same_array_is_no_matter(self, folder):
        before = npy_md5(folder / "fog.npy")
        with (folder / "new.npy").open("wb") as stream:
            np.lib.format.write_array(stream, FOG, version=(2, 0), allow_pickle=False)
        np.save(folder / "columns.npy", np.asfortranarray(FOG))
        assert npy_md5(folder / "new.npy") == npy_md5(folder / "columns.npy") == before

    def test_a_changed_file_is_hashed_again(self, folder):
        before = npy_md5(folder / "fog.npy")
        np.save(folder / "fog.npy", FOG[:25])
        assert npy_md5(folder / "fog.npy") != before

    def test_every_missing_file_is_named(self, folder):
        with pytest.raises(MissingDataError, match=r"missing snow\.npy, frost\.npy;"):
            cifar10_c_md5(folder, ["snow", "fog", "frost"], 6)
