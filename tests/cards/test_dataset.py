"""What dataset cards may say, and that ours say it rightly."""

from __future__ import annotations

import re

import numpy as np
import pytest

from shiftcast.cards.base import read_card
from shiftcast.cards.dataset import DatasetCard
from shiftcast.errors import CardError
from shiftcast.util.hashing import hash_of
from shiftcast.workspace import Workspace
from support import REPOSITORY

CARDS = Workspace(REPOSITORY, REPOSITORY).datasets
WITH_FILES = {name: card for name, card in CARDS.items() if card.layout not in ("derived", "digits")}


@pytest.mark.parametrize("name", WITH_FILES)
def test_public_sets_say_where_they_are_and_the_others_do_not(name):
    card = CARDS[name]
    assert card.public == bool(card.downloads)
    assert (f"shiftcast data get {name}" in card.obtain) == card.public
    assert "$SHIFTCAST_DATA" in card.obtain


@pytest.mark.parametrize("name", WITH_FILES)
def test_a_set_without_a_fingerprint_says_so(name):
    assert bool(CARDS[name].fingerprint) != ("recorded" in CARDS[name].description)


def test_cards_that_share_a_file_agree_about_it():
    seen = {}
    for card in CARDS.values():
        for download in card.downloads:
            facts = download.model_dump(include={"urls", "size", "sha256", "md5", "stated_by"})
            assert seen.setdefault(download.file, facts) == facts
    assert len(seen) == 14


def test_every_set_has_the_ten_classes_of_its_source():
    classes = CARDS["cifar10-test"].classes
    assert all(card.classes == classes for name, card in CARDS.items() if not name.startswith("digits"))


def test_all_nineteen_corruptions_are_offered_published_and_made():
    published, made = CARDS["cifar10-c"].derived, CARDS["cifar10-c-regenerated"].derived
    assert len(set(published.transforms)) == 19
    assert published.transforms == made.transforms == list(published.md5)
    assert CARDS["cifar10-c"].fingerprint == hash_of(published.md5)
    assert CARDS["cifar10-jpeg"].derived.severities == [1]


def test_the_list_of_images_has_one_line_for_each_and_the_card_s_balance():
    lines = (REPOSITORY / "datasets" / "cinic10-imagenet.hashes").read_text().splitlines()
    hashes, labels = zip(*(line.split(" ") for line in lines), strict=True)
    assert len(set(hashes)) == CARDS["cinic10-imagenet"].n
    assert all(re.fullmatch(r"[0-9a-f]{16}", one) for one in hashes)
    counts = np.bincount([int(label) for label in labels])
    assert (len(counts), counts.min(), counts.max()) == (10, 507, 534)


@pytest.mark.parametrize(
    ("name", "path", "kind", "cluster"),
    [
        ("cinic10-imagenet", "train/airplane/n02690373_10004.png", "airplane", None),
        ("cinic10-imagenet", "CINIC-10/valid/truck/n03417042_9.png", "truck", None),
        ("cinic10-imagenet", "test/airplane/cifar10-test-10.png", None, None),
        ("cinic10-imagenet", "test/airplane/cifar-10-train-10.png", None, None),
        ("cifar10-g", "CIFAR-10G-773/224x224/contours/deer/deer003.png", "deer", "deer003"),
        ("cifar10-g", "CIFAR-10G-773/224x224/line_drawings_inverted/cat/cat010.png", "cat", "cat010"),
        ("cifar10-g", "CIFAR-10G-773/224x224/contours/README.md", None, None),
        ("style-transfer", "t/stimuli/edges/boat/boat7.png", "boat", "boat7"),
        ("style-transfer", "t/stimuli/filled-silhouettes/car/car10.png", "car", "car10"),
        (
            "style-transfer",
            "t/stimuli/style-transfer-preprocessed-512/airplane/airplane1-bicycle2.png",
            "airplane",
            "airplane1",
        ),
        (
            "style-transfer",
            "t/stimuli/style-transfer-preprocessed-512/airplane/airplane10-airplane1.png",
            None,
            None,
        ),
        ("style-transfer", "t/stimuli/style-transfer-preprocessed-512/cat/cat1-boat1.png", None, None),
    ],
)
def test_a_pattern_picks_the_publisher_s_files(name, path, kind, cluster):
    match = re.fullmatch(CARDS[name].build.pattern, path)
    assert (match["class"] if match else None) == kind
    if match and cluster:
        assert match["cluster"] == cluster


@pytest.mark.parametrize(
    ("name", "kept"), [("n02690373_10004.png", True), ("cifar10-test-10.png", False), ("n1.png", False)]
)
def test_cifar_images_are_no_part_of_the_test_split(name, kept):
    assert bool(re.fullmatch(CARDS["cinic10-imagenet-test"].pattern, name)) == kept


def test_class_names_are_translated():
    label_of = CARDS["style-transfer"].label_of
    assert {CARDS["style-transfer"].classes[label] for label in label_of.values()} == {
        *("airplane", "automobile", "bird", "cat", "dog", "ship", "truck")
    }
    assert label_of["boat"] == 8
    assert [CARDS["stl10"].label_of.get(name) for name in CARDS["stl10"].publisher_classes] == [
        *(0, 2, 1, 3, 4, 5, 7, None, 8, 9)
    ]
    assert CARDS["cifar10-g"].label_of["frog"] == 6


DATASET = """
title = "Things"
description = "Three things."
layout = "arrays"
files = ["images.npy", "labels.npy"]
classes = ["cat", "dog"]
n = 3
shift = "natural"
citation = "Nobody."
licence = "None"
obtain = "Ask."
"""
DOWNLOAD = '[[downloads]]\nfile = "a.zip"\nurls = ["https://example.org/a.zip"]\n'
BUILD = "[build]\nkind = 'image-tree'\narchive = 'a.zip'\npattern = '(?P<class>.)'\n"
DERIVED = '[derived]\nsource = "things"\ngenerator = "published"\nversion = 1\ntransforms = ["fog"]\n'


def changed(*replacements, extra=""):
    text = DATASET
    for old, new in replacements:
        text = text.replace(old, new)
    return text + extra


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed(extra=DOWNLOAD + f'md5 = "{"0" * 32}"'), "stated_by belongs to sha256 or md5"),
        (changed(extra=DOWNLOAD.replace("https", "ftp")), "downloads.0.urls.0"),
        (changed(extra=DOWNLOAD.replace("a.zip", "../a.zip")), "downloads.0.file"),
        (changed(extra=BUILD), "'a.zip' is none of the downloads"),
        (
            changed(extra=DOWNLOAD + BUILD.replace("(?P<class>.)", "(")),
            "pattern: is not a regular expression",
        ),
        (changed(extra=DOWNLOAD + BUILD.replace("?P<class>", "")), "needs a group named 'class'"),
        (changed(extra=DOWNLOAD + BUILD + 'hashes = "h"'), "hashes belongs to kind 'selection'"),
        (changed(extra=DOWNLOAD + BUILD.replace("<class>.)", "<class>.)(?P<cluster>.)")), "group 'cluster'"),
        (changed(("n = 3", 'n = 3\nclusters = "c.npy"'), extra=DOWNLOAD + BUILD), "group 'cluster' belongs"),
        (changed(('"arrays"', '"image-folder"'), extra=DOWNLOAD + BUILD), "belongs to layout 'arrays'"),
        (changed((', "labels.npy"', ""), extra=DOWNLOAD + BUILD), "files needs two names"),
        (changed(('"arrays"', '"image-folder"\npattern = "["')), "pattern: is not a regular expression"),
        (changed(('"arrays"', '"arrays"\npattern = "a"')), "pattern: belongs to layout image-folder"),
        (changed(('"arrays"', '"npz"')), "needs keys"),
        (changed(('"arrays"', '"stl10-binary"')), "needs files, images and labels, and publisher_classes"),
        (changed(extra='[class_map]\ncow = "cow"'), "class_map: 'cow' is not a class"),
        (
            changed(("n = 3", 'n = 3\npublisher_classes = ["dog"]'), extra='[class_map]\ncow = "dog"'),
            "class_map: 'cow' is none of publisher_classes",
        ),
        (changed(extra=DERIVED), "belongs to layouts 'derived' and 'cifar10-c'"),
        (changed(('"arrays"', '"derived"'), extra=DERIVED), "generator 'published' belongs to layout"),
        (changed(('"arrays"', '"cifar10-c"'), extra=DERIVED + "severities = [6]"), "severities"),
        (
            changed(('"arrays"', '"cifar10-c"'), extra=DERIVED + f'md5 = {{ fog = "{"0" * 32}" }}'),
            "stated_by belongs to md5",
        ),
        (
            changed(
                ('"arrays"', '"cifar10-c"'),
                extra=DERIVED + f'stated_by = "x"\nmd5 = {{ snow = "{"0" * 32}" }}',
            ),
            "md5: 'snow' is none of the transforms",
        ),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(tmp_path, text, message):
    path = tmp_path / "things.toml"
    path.write_text(text)
    with pytest.raises(CardError, match=re.escape(message)):
        read_card(DatasetCard, path)


def test_a_card_may_be_built_from_a_download(tmp_path):
    path = tmp_path / "things.toml"
    path.write_text(changed(extra=DOWNLOAD + BUILD))
    assert read_card(DatasetCard, path).build.kind == "image-tree"
