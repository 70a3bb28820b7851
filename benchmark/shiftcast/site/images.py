"""Thumbnails of images that stand out, where the data are at hand and may be passed on."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shiftcast.cards.dataset import DatasetCard
from shiftcast.data.fingerprints import fingerprint
from shiftcast.data.loading import load_dataset, load_target, with_shortcut
from shiftcast.data.readers.layouts import Images
from shiftcast.errors import DataError
from shiftcast.runs.suite_runs import Pool
from shiftcast.site.outputs import Outputs

OPEN_LICENCES = frozenset(
    {"Apache-2.0", "CC0 1.0", "CC BY 4.0", "CC BY-NC 4.0", "CC BY-NC-SA 4.0", "CC BY-SA 4.0", "MIT"}
)
"""Licences of whole datasets that let anybody pass images on, named and with their licence beside them."""

Pictures = dict[str, dict[int, str]]


def may_be_shown(card: DatasetCard) -> bool:
    """Whether a dataset's images may be passed on: its card states one open licence and nothing besides."""
    return card.public and card.licence in OPEN_LICENCES


def pictures(pool: Pool, outputs: Outputs, folder: Path, everything: bool) -> tuple[Pictures, dict[str, str]]:
    """Return images that stand out as data URIs, by target and position, and why others are not shown.

    Parameters
    ----------
    pool
        The suite's runs, which say which arrays they saw.
    outputs
        Which images stand out.
    folder
        The data folder.
    everything
        Also show sets whose licence does not let them be passed on.
    """
    found: Pictures = {}
    reasons: dict[str, str] = {}
    homes: dict[str, Images] = {}
    for target in pool.targets:
        positions = outputs.images[target.id].positions
        card = pool.workspace.dataset(target.dataset)
        if not (everything or may_be_shown(card)):
            reasons[target.id] = f"the licence does not let the images be shown here ({card.licence})"
            continue
        try:
            images = _load(pool, target.id, folder, homes)
        except DataError:
            reasons[target.id] = "the images were not at hand when this page was made"
            continue
        if not _same(pool, target.id, images):
            reasons[target.id] = "the images at hand are not those that the runs saw"
            continue
        found[target.id] = {place: data_uri(images.images[place]) for place in positions}
    return found, reasons


def _load(pool: Pool, name: str, folder: Path, homes: dict[str, Images]) -> Images:
    """Return the images of a target; the test set that derived ones are made from is read once."""
    target = next(target for target in pool.targets if target.id == name)
    source = pool.suite.source.test
    if target.derived and source not in homes:
        homes[source] = load_dataset(pool.workspace.dataset(source), folder)
    plain = homes.get(source)
    if plain is None:
        return load_dataset(pool.workspace.dataset(target.dataset), folder)
    planted = with_shortcut(pool.suite, plain, "test")
    return load_target(pool.workspace, pool.suite, target, folder, planted, plain)


def _same(pool: Pool, name: str, images: Images) -> bool:
    run = next(run for run in pool.scored if name in run.sets)
    used: Mapping[str, object] = run.record.datasets
    known = used.get(name)
    return known is None or getattr(known, "fingerprint", "") == fingerprint(images.images, images.labels)


def data_uri(image: NDArray[np.uint8]) -> str:
    """Return an image, uint8 (H, W, 3), as a PNG that a page can hold."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
