"""From cards to arrays: one dataset, or everything that a suite trains on and evaluates.

Says which edition each dataset is; knows nothing of models or results.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

from shiftcast.cards.dataset import DatasetCard
from shiftcast.cards.suite import Suite, Target
from shiftcast.data.corruptions import shortcuts as planted
from shiftcast.data.corruptions.registry import corrupt
from shiftcast.data.corruptions.streams import GENERATOR_VERSION
from shiftcast.data.fingerprints import DatasetUsed, fingerprint
from shiftcast.data.label_views import LabelView, read_label_views
from shiftcast.data.readers.image_folders import read_image_folder
from shiftcast.data.readers.layouts import (
    Images,
    read_arrays,
    read_cifar10_binary,
    read_digits,
    read_labels,
    read_npz,
)
from shiftcast.data.readers.published import cifar10_c_md5, npy_md5, read_cifar10_c, read_stl10_binary
from shiftcast.data.sampling import base_index, stratified_subset
from shiftcast.errors import DataError, MissingDataError
from shiftcast.util.hashing import hash_of, sha256
from shiftcast.util.types import Integers
from shiftcast.workspace import Workspace

MAX_TAG = 100
"""Characters that editions may add to a folder's name, which file systems limit."""


@dataclass(frozen=True, eq=False)
class SuiteData:
    """Everything that a suite's runs see.

    Parameters
    ----------
    train
        The labelled training images, already cut to the suite's subset.
    sets
        The images of the in-distribution test set, then of every target, by id.
    used
        What stands behind each name: fingerprint, edition, number of images.
    edition
        Empty when all arrays are those that the suite names, else what they are.
    absent
        Why a target that is not required could not be loaded, by id.
    label_views
        Other labels of the test images whose files are at hand, by name.
    """

    train: Images
    sets: Mapping[str, Images]
    used: Mapping[str, DatasetUsed]
    edition: str
    absent: Mapping[str, str]
    label_views: Mapping[str, LabelView] = field(default_factory=dict)


def load_dataset(card: DatasetCard, folder: Path) -> Images:
    """Read the arrays of one dataset that has files (or is embedded) and check them against its card.

    Raises
    ------
    MissingDataError
        If files are missing: which ones, where they were looked for, how to get them.
    DataError
        If the files are not as the card says, or the dataset is a family of sets made from another.
    """
    with _remedy(card, folder):
        images = _read(card, folder)
    if len(images.images) != card.n:
        raise DataError(
            f"dataset {card.name!r}: the card says {card.n} images, the files hold {len(images.images)}"
        )
    if images.labels is not None and images.labels.max() >= len(card.classes):
        raise DataError(
            f"dataset {card.name!r}: labels reach {images.labels.max()}, "
            f"but the card has {len(card.classes)} classes"
        )
    return images


def fingerprint_of(card: DatasetCard, folder: Path) -> str:
    """Read a dataset that has files (or is embedded) and return the fingerprint that its card would state.

    That of its arrays; of a published family of sets, the hash over the MD5 of each of its files.

    Raises
    ------
    MissingDataError
        If files are missing.
    DataError
        If the files are not as the card says.
    """
    if card.derived is None or card.layout != "cifar10-c":
        images = load_dataset(card, folder)
        return fingerprint(images.images, images.labels)
    with _remedy(card, folder):
        return hash_of(cifar10_c_md5(folder / card.path, card.derived.transforms, card.n))


@contextmanager
def _remedy(card: DatasetCard, folder: Path) -> Iterator[None]:
    """Say whose files are missing and how to get them."""
    try:
        yield
    except MissingDataError as error:
        remedy = card.obtain.replace("$SHIFTCAST_DATA", str(folder))
        raise MissingDataError(f"dataset {card.name!r}: {error}. To get it: {remedy}") from error


def _read(card: DatasetCard, folder: Path) -> Images:
    base = folder / card.path
    if card.derived is not None:
        raise DataError(
            f"dataset {card.name!r}: is one set for each transform and severity, made from "
            f"{card.derived.source!r}; a suite's target names them"
        )
    if card.layout == "digits":
        return read_digits("train" if card.split == "train" else "test")
    if card.layout == "cifar10-binary":
        return read_cifar10_binary(base, card.files)
    if card.layout == "labels":
        return read_labels(base / card.files[0])
    if card.layout == "npz":
        return read_npz(base / card.files[0], card.keys)
    if card.layout == "image-folder":
        return read_image_folder(base, card.label_of, card.pattern)
    if card.layout == "stl10-binary":
        numbers = [card.label_of.get(name) for name in card.publisher_classes]
        return read_stl10_binary(base, card.files, numbers)
    labels = base / card.files[1] if card.labels == "given" and len(card.files) > 1 else None
    return read_arrays(base / card.files[0], labels, base / card.clusters if card.clusters else None)


def load_suite(workspace: Workspace, suite: Suite, folder: Path) -> SuiteData:
    """Load a suite's training images, test images and targets from the data folder.

    Parameters
    ----------
    workspace, suite
        Where the cards are, and the suite.
    folder
        The data folder.

    Raises
    ------
    MissingDataError
        If the source or a required target is missing. Targets of another level are left out and
        listed in `absent`.
    """
    card = workspace.dataset(suite.training_set)
    train, used = _source(suite, card, load_dataset(card, folder), "train")
    rest = load_sets(workspace, suite, folder)
    everything = {card.name: used, **rest.used}
    test = rest.sets[suite.source.test]
    views = read_label_views(workspace.dataset(suite.source.test), folder, cast("Integers", test.labels))
    tag = edition_tag(suite, everything)
    return SuiteData(_subset(train, suite), rest.sets, everything, tag, rest.absent, views)


@dataclass(frozen=True, eq=False)
class SuiteSets:
    """The images that a suite's runs are evaluated on; the fields are those of `SuiteData`."""

    sets: Mapping[str, Images]
    used: Mapping[str, DatasetUsed]
    absent: Mapping[str, str]


def load_sets(
    workspace: Workspace, suite: Suite, folder: Path, only: Collection[str] | None = None
) -> SuiteSets:
    """Load a suite's test images and targets, of these only those in `only`; otherwise as `load_suite`."""
    test_card = workspace.dataset(suite.source.test)
    plain = load_dataset(test_card, folder)
    test, source = _source(suite, test_card, plain, "test")
    used = {test_card.name: source}
    sets, absent = {test_card.name: test}, {}
    for target in suite.unfolded_targets():
        if only is not None and target.id not in only:
            continue
        card = workspace.dataset(target.dataset)
        try:
            images = load_target(workspace, suite, target, folder, test, plain)
        except MissingDataError as error:
            # The others may be missing: a board is worth having without them.
            if target.level == "required":
                raise
            absent[target.id] = str(error)
            continue
        sets[target.id] = images
        used[target.id] = _used(card, images, _made(card, folder, target))
    return SuiteSets(sets, used, absent)


def _source(
    suite: Suite, card: DatasetCard, images: Images, split: Literal["train", "test"]
) -> tuple[Images, DatasetUsed]:
    """Return a source's images, with the suite's shortcut in them, and what stands behind its name."""
    if images.labels is None:
        raise DataError(f"suite {suite.name!r}: its source {card.name!r} must have labels")
    used = _used(card, images)
    if suite.source.planted is not None:
        # Other pixels: runs on them must not pass for runs on the plain images.
        images = with_shortcut(suite, images, split)
        used = used.model_copy(update={"fingerprint": fingerprint(images.images, images.labels)})
    return images, used


def load_natural(workspace: Workspace, suite: Suite, name: str, folder: Path) -> tuple[Images, DatasetUsed]:
    """Return the images of a suite's test set or of a target that is not derived, and what stands behind it.

    Raises
    ------
    MissingDataError
        If files are missing.
    DataError
        If they are not as the card says.
    """
    card = workspace.dataset(name)
    images = load_dataset(card, folder)
    if name == suite.source.test:
        return _source(suite, card, images, "test")
    return images, _used(card, images)


def load_target(
    workspace: Workspace, suite: Suite, target: Target, folder: Path, test: Images, plain: Images
) -> Images:
    """Load one target of a suite.

    Parameters
    ----------
    workspace, suite, target
        Where the cards are, and which target of which suite.
    folder
        The data folder.
    test, plain
        The test images, with and without what the suite plants in them.

    Raises
    ------
    MissingDataError
        If its files are missing.
    DataError
        If they are not as its card says.
    """
    card = workspace.dataset(target.dataset)
    if not target.derived:
        return load_dataset(card, folder)
    # What moves a shortcut starts from images without one.
    moved = card.derived is not None and card.derived.generator == "planted"
    return _derive(card, folder, target, plain if moved else test, suite)


def with_shortcut(suite: Suite, images: Images, split: Literal["train", "test"]) -> Images:
    """Return a source's images with the suite's shortcut in them; its edition stays that of the images."""
    kind, agreement = suite.source.planted, suite.source.agreement
    if kind is None or agreement is None:
        return images
    changed = planted.plant(images.images, cast("Integers", images.labels), kind, agreement, split)
    return replace(images, images=changed)


def _subset(train: Images, suite: Suite) -> Images:
    if suite.source.train_images is None:
        return train
    labels = cast("Integers", train.labels)
    index = stratified_subset(labels, suite.source.train_images, suite.source.seed)
    return replace(train, images=train.images[index], labels=labels[index])


def _derive(card: DatasetCard, folder: Path, target: Target, test: Images, suite: Suite) -> Images:
    labels = cast("Integers", test.labels)
    index = base_index(target, labels, suite.source.seed)
    if not test.images.size:
        raise DataError(
            f"dataset {card.name!r}: is made from images, and {suite.source.test!r} is labels alone"
        )
    if card.layout == "cifar10-c":
        with _remedy(card, folder):
            base = folder / card.path
            changed = read_cifar10_c(base, target.transform, target.severity, labels, index)
    elif card.derived is not None and card.derived.generator == "planted":
        if card.derived.version != planted.VERSION:
            raise DataError(
                f"dataset {card.name!r}: its card states version {card.derived.version} of what is planted, "
                f"expected {planted.VERSION}"
            )
        changed = planted.transform(test.images[index], labels[index], target.transform, index)
    else:
        changed = corrupt(test.images[index], target.transform, target.severity, index)
    return replace(test, images=changed, labels=labels[index])


def _used(card: DatasetCard, images: Images, edition: str = "") -> DatasetUsed:
    digest = fingerprint(images.images, images.labels)
    return DatasetUsed(fingerprint=digest, edition=edition or card.edition(digest), n=len(images.images))


def _made(card: DatasetCard, folder: Path, target: Target) -> str:
    """Return the edition of a derived target; empty for the others, which their fingerprint names."""
    if card.derived is None:
        return ""
    if card.derived.generator == "planted":
        return f"generator-planted-{planted.VERSION}"
    if card.derived.generator == "corruptions":
        return f"generator-{GENERATOR_VERSION}"
    # A suite may use a part of the images: published arrays are known by the whole of their file.
    came = npy_md5(folder / card.path / f"{target.transform}.npy")
    return "publisher" if came == card.derived.md5.get(target.transform) else came[:12]


def edition_tag(suite: Suite, used: Mapping[str, DatasetUsed]) -> str:
    """Return what to call results on these arrays: empty when they are the ones the suite names."""
    others = {
        entry.edition
        for name, entry in used.items()
        if not entry.edition.startswith("generator-")
        and entry.edition != suite.editions.get(name, "publisher")
    }
    tag = "+".join(sorted(others))
    return tag if len(tag) <= MAX_TAG else sha256(tag.encode())[:12]
