"""Putting datasets in place: beside others' files, through links, and folders as wholes."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shiftcast.data.download import placing
from shiftcast.data.download.inventory import State, check, inspect
from shiftcast.errors import CardError, DataError
from support import REPOSITORY


def fill(folder, tiny):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in tiny.files.items():
        (folder / name).write_bytes(content)


@pytest.fixture
def archive(tiny, server):
    """The download of an archive whose hash is stated."""
    sha256 = hashlib.sha256(tiny.archive).hexdigest()
    return tiny.download(server.add("/a", tiny.archive), sha256=sha256, stated_by="a page")


@pytest.fixture
def other_disk(monkeypatch):
    """Renaming from `.partial/` fails as between two disks."""
    rename = os.rename

    def refused(source, target):
        if ".partial" in Path(source).parts and ".partial" not in Path(target).parts:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(source, target)

    monkeypatch.setattr(os, "rename", refused)


def test_only_a_datasets_own_files_are_put_in_place(tiny, archive):
    whole = tiny.card(archive)
    images_only = tiny.card(archive, files=["images.npy"], name="images-only", labels="withheld")
    fill(tiny.store.folder / "tiny", tiny)
    np.save(tiny.store.folder / "tiny/labels.npy", 1 - tiny.labels)
    (tiny.store.folder / "tiny/images.npy").unlink()
    mine = (tiny.store.folder / "tiny/labels.npy").read_bytes()
    assert tiny.get(images_only).status == "here"
    assert (tiny.store.folder / "tiny/labels.npy").read_bytes() == mine
    assert inspect(whole, tiny.store).status == "here"


def test_the_halves_of_cifar_10_do_not_name_each_others_files(repository_cards):
    members = {name: repository_cards[name].downloads[0].members for name in repository_cards}
    for name, card in repository_cards.items():
        assert members[name] == [f"{card.path}/{file}" for file in card.files]


@pytest.fixture
def repository_cards():
    from shiftcast.cards.base import read_card
    from shiftcast.cards.dataset import DatasetCard

    folder = REPOSITORY / "datasets"
    return {
        name: read_card(DatasetCard, folder / f"{name}.toml") for name in ("cifar10-test", "cifar10-train")
    }


@pytest.mark.parametrize("place", ["../tiny", "tiny/../../x", "/tiny", "C:tiny", "C:\\tiny", "..\\tiny"])
def test_folders_that_lead_out_of_the_data_folder_are_refused(tiny, server, place):
    url = server.add("/a", tiny.archive)
    with pytest.raises(CardError, match="leads out of the data folder"):
        tiny.get(tiny.card(tiny.download(url, into=place)))
    with pytest.raises(CardError, match="leads out of the data folder"):
        inspect(tiny.card(path=place), tiny.store)


class TestLinks:
    @pytest.fixture
    def far(self, tiny, tmp_path):
        """The dataset's folder is a link to one elsewhere."""
        far = tmp_path / "bigdisk" / "far"
        fill(far, tiny)
        tiny.store.folder.mkdir()
        (tiny.store.folder / "tiny").symlink_to(far)
        return far

    def test_a_linked_folder_is_here(self, tiny, archive, far):
        card = tiny.card(archive)
        assert inspect(card, tiny.store).status == "here"
        assert "already here" in tiny.get(card).note
        assert check(card, tiny.store)[1] == []
        assert (tiny.store.folder / "tiny").is_symlink()

    def test_a_linked_file_is_here(self, tiny, archive, tmp_path):
        fill(tmp_path / "far", tiny)
        (tiny.store.folder / "tiny").mkdir(parents=True)
        for name in tiny.files:
            (tiny.store.folder / "tiny" / name).symlink_to(tmp_path / "far" / name)
        assert "already here" in tiny.get(tiny.card(archive)).note

    def test_what_is_behind_a_link_is_replaced_only_when_asked(self, tiny, archive, far, server):
        card = tiny.card(archive)
        (far / "labels.npy").write_bytes(b"damaged")
        with pytest.raises(DataError, match=r"would be replaced.*is a link to.*get tiny-set --force"):
            tiny.get(card)
        assert server.log == []
        assert (far / "labels.npy").read_bytes() == b"damaged"
        assert tiny.get(card, force=True).arrays == "publisher"
        assert (far / "labels.npy").read_bytes() == tiny.files["labels.npy"]

    @pytest.mark.usefixtures("other_disk")
    def test_what_is_missing_behind_a_link_is_put_there(self, tiny, archive, far):
        for name in tiny.files:
            (far / name).unlink()
        assert tiny.get(tiny.card(archive)).arrays == "publisher"
        assert sorted(path.name for path in far.iterdir()) == sorted(tiny.files)

    def test_a_linked_file_is_replaced_and_not_written_to(self, tiny, archive, tmp_path):
        fill(tiny.store.folder / "tiny", tiny)
        place, mine = tiny.store.folder / "tiny/labels.npy", tmp_path / "mine.npy"
        mine.write_bytes(b"damaged")
        place.unlink()
        place.symlink_to(mine)
        with pytest.raises(DataError, match="would be replaced"):
            tiny.get(tiny.card(archive))
        tiny.get(tiny.card(archive), force=True)
        assert not place.is_symlink()
        assert mine.read_bytes() == b"damaged"

    @pytest.mark.parametrize("force", [True, False])
    def test_a_link_to_no_folder_is_named(self, tiny, archive, tmp_path, force):
        tiny.store.folder.mkdir()
        (tiny.store.folder / "tiny").symlink_to(tmp_path / "unmounted")
        with pytest.raises(DataError, match="tiny: is a link that does not lead to a folder"):
            tiny.get(tiny.card(archive), force=force)


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


class TestFolders:
    @pytest.fixture
    def card(self, tiny, server):
        """A folder of images, whose archive also holds what is not the dataset's."""
        members = {
            f"tiny/{'ab'[place % 2]}/{place:02d}.png": png(one) for place, one in enumerate(tiny.images)
        }
        body = tiny.tar({**members, "other/a.png": b"another's"})
        stated = {"sha256": hashlib.sha256(body).hexdigest(), "stated_by": "a page"}
        download = tiny.download(server.add("/a", body), members=["*.png"], **stated)
        return tiny.card(download, layout="image-folder", files=[])

    def test_a_damaged_folder_is_replaced_whole(self, tiny, card):
        tiny.get(card)
        assert not (tiny.store.folder / "other").exists()
        place = tiny.store.folder / "tiny/a/00.png"
        place.write_bytes(b"damaged")
        assert inspect(card, tiny.store).status == "damaged"
        assert tiny.get(card).status == "here"
        assert sorted(path.name for path in (tiny.store.folder / "tiny").iterdir()) == ["a", "b"]
        assert sorted(path.name for path in tiny.store.folder.iterdir()) == [".partial", ".shiftcast", "tiny"]

    def test_own_files_are_named_and_kept_and_nothing_is_fetched_twice(self, tiny, card, server):
        tiny.get(card)
        mine = tiny.store.folder / "tiny/a/mine.png"
        mine.write_bytes(b"mine")
        for _ in range(2):
            with pytest.raises(
                DataError, match=r"holds files that do not belong to 'tiny-set': a/mine\.png\."
            ):
                tiny.get(card)
        assert mine.read_bytes() == b"mine"
        assert len(server.log) == 2
        assert tiny.get(card, force=True).status == "here"
        assert not mine.exists()
        assert "including files that are not part of the dataset: a/mine.png" in tiny.notes.text
        assert len(server.log) == 2

    def test_many_own_files_are_counted(self, tiny, card):
        tiny.get(card)
        for number in range(8):
            (tiny.store.folder / f"tiny/a/mine{number}.png").write_bytes(b"mine")
        with pytest.raises(DataError, match=r"a/mine4\.png and 3 more\."):
            tiny.get(card)

    @pytest.mark.usefixtures("other_disk")
    def test_a_link_to_a_folder_is_replaced_when_asked_even_from_another_disk(self, tiny, card, tmp_path):
        far = tmp_path / "far"
        far.mkdir()
        (far / "note.txt").write_text("mine")
        tiny.store.folder.mkdir()
        (tiny.store.folder / "tiny").symlink_to(far)
        with pytest.raises(DataError, match="would be replaced"):
            tiny.get(card)
        assert tiny.get(card, force=True).status == "here"
        assert not (tiny.store.folder / "tiny").is_symlink()
        assert (far / "note.txt").read_text() == "mine"
        assert sorted(path.name for path in tiny.store.folder.iterdir()) == [".partial", ".shiftcast", "tiny"]

    def test_what_was_there_comes_back_when_the_new_one_cannot_be_moved(self, tmp_path, monkeypatch):
        for name in ("old", "new"):
            (tmp_path / name).mkdir()
            (tmp_path / name / name).touch()

        def full(source, target):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(placing.shutil, "move", full)
        with pytest.raises(OSError, match="No space"):
            placing.swap(tmp_path / "new", tmp_path / "old")
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "new", "old", "old"]

    def test_success_is_not_claimed_of_what_is_still_damaged(self, tiny, card, monkeypatch):
        states = iter(["missing", "missing", "damaged"])
        where = tiny.store.folder / "tiny"
        monkeypatch.setattr(
            "shiftcast.data.download.obtain.inspect",
            lambda *_: State(card.name, next(states), where, note="why"),
        )
        with pytest.raises(DataError, match="was put in place, but it is damaged; why"):
            tiny.get(card)
