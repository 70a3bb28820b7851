"""Image folders, made of files that the tests write."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from shiftcast.data.readers.image_folders import MAX_SIDE, decode_png, read_image_folder
from shiftcast.errors import DataError, MissingDataError, ShiftcastError

IMAGES = np.random.RandomState(0).randint(0, 256, (6, 32, 32, 3)).astype(np.uint8)
LABEL_OF = {"cat": 1, "airplane": 0, "wildcat": 1}


def png(pixels, mode=None, **options):
    image = Image.fromarray(pixels)
    stream = io.BytesIO()
    (image.convert(mode) if mode else image).save(stream, "PNG", **options)
    return stream.getvalue()


def put(folder, path, data):
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


@pytest.fixture
def folder(tmp_path):
    names = ["wildcat/n2_9.png", "cat/n1_20.png", "cat/n1_3.png", "airplane/n0_1.png", "zebra/n9_1.png"]
    for name, image in zip(names, IMAGES, strict=False):
        put(tmp_path, name, png(image))
    put(tmp_path, "cat/cifar10-test-5.png", png(IMAGES[5]))
    put(tmp_path, "cat/.n1_1.png", b"what a Mac leaves")
    put(tmp_path, "cat/README.txt", b"cats")
    return tmp_path


class TestImageFolder:
    def test_order_is_label_then_folder_then_file_name(self, folder):
        data = read_image_folder(folder, LABEL_OF, r"n\d+_\d+\.png")
        assert data.labels.tolist() == [0, 1, 1, 1]
        assert data.labels.dtype == np.int64
        assert np.array_equal(data.images, IMAGES[[3, 1, 2, 0]])
        assert data.images.flags.c_contiguous
        assert data.clusters is None

    def test_without_a_pattern_every_png_is_an_image(self, folder):
        data = read_image_folder(folder, LABEL_OF)
        assert len(data) == 5
        assert np.array_equal(data.images[1], IMAGES[5])

    def test_a_class_need_not_have_a_folder(self, folder):
        assert len(read_image_folder(folder, LABEL_OF | {"ship": 8})) == 5

    def test_a_folder_without_images_is_missing(self, folder):
        with pytest.raises(MissingDataError, match=r"no image files named x.* in .*airplane, cat"):
            read_image_folder(folder, LABEL_OF, r"x\.png")
        with pytest.raises(MissingDataError, match="no image files in"):
            read_image_folder(folder / "nowhere", LABEL_OF)

    def test_another_size_is_refused_by_name(self, folder):
        put(folder, "cat/n1_4.png", png(IMAGES[0][:30]))
        with pytest.raises(DataError, match=r"n1_4\.png: expected an image of 32 x 32 .* got 32 x 30"):
            read_image_folder(folder, LABEL_OF)

    def test_a_damaged_file_is_refused_by_name(self, folder):
        put(folder, "cat/n1_4.png", png(IMAGES[0])[:-40])
        with pytest.raises(DataError, match=r"cat/n1_4\.png: cannot be read as a PNG image"):
            read_image_folder(folder, LABEL_OF)

    def test_a_folder_in_place_of_a_file_is_refused(self, folder):
        (folder / "cat" / "n1_4.png").mkdir()
        with pytest.raises(DataError, match=r"n1_4\.png: cannot be read"):
            read_image_folder(folder, LABEL_OF)


class TestPng:
    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "P"])
    def test_every_mode_of_eight_bits_becomes_rgb(self, mode):
        image = Image.fromarray(IMAGES[0]).convert(mode)
        stream = io.BytesIO()
        image.save(stream, "PNG")
        found = np.asarray(decode_png(stream.getvalue(), "a.png"))
        assert np.array_equal(found, np.asarray(image.convert("RGB")))
        assert found.shape == (32, 32, 3)

    def test_transparency_is_dropped_and_colours_stay(self):
        clear = np.dstack([IMAGES[0], np.zeros((32, 32), np.uint8)])
        assert np.array_equal(np.asarray(decode_png(png(clear), "a.png")), IMAGES[0])

    def test_a_palette_with_transparency_is_read_in_silence(self):
        data = png(IMAGES[0], mode="P", transparency=b"\x00\x80\xff")
        assert decode_png(data, "a.png").mode == "RGB"

    def test_values_of_sixteen_bits_are_refused(self):
        with pytest.raises(DataError, match=r"a\.png: expected values of 8 bits"):
            decode_png(png(np.full((32, 32), 40_000, np.uint16)), "a.png")

    def test_a_page_and_another_format_are_refused(self):
        with pytest.raises(DataError, match="is an HTML page"):
            decode_png(b"<!doctype html><p>404", "a.png")
        stream = io.BytesIO()
        Image.fromarray(IMAGES[0]).save(stream, "BMP")
        with pytest.raises(DataError, match="cannot be read as a PNG"):
            decode_png(stream.getvalue(), "a.png")

    def test_a_giant_is_refused_before_it_is_unpacked(self):
        data = bytearray(png(IMAGES[0]))
        data[16:24] = (MAX_SIDE + 1).to_bytes(4, "big") * 2
        with pytest.raises(DataError):
            decode_png(bytes(data), "a.png")
        wide = png(np.zeros((1, MAX_SIDE + 1), np.uint8))
        with pytest.raises(DataError, match=f"at most {MAX_SIDE} pixels a side, got {MAX_SIDE + 1} x 1"):
            decode_png(wide, "a.png")

    @pytest.mark.parametrize("keep", [0, 7, 8, 20, 33, 40, 100, 1000])
    def test_a_truncated_file_is_refused(self, keep):
        with pytest.raises(DataError, match=r"a\.png"):
            decode_png(png(IMAGES[0])[:keep], "a.png")

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(data=st.binary(max_size=64), keep=st.integers(0, 120))
    def test_random_bytes_end_in_our_errors_only(self, data, keep):
        valid = png(IMAGES[0])
        with suppress(ShiftcastError):
            decode_png(valid[:keep] + data + valid[keep + len(data) :], "a.png")
