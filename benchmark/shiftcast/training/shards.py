"""Outputs of a collection on the disk, a shard every few batches, so that an interrupted one goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftcast.errors import InvalidInputError
from shiftcast.intake.archives import read_arrays
from shiftcast.util.files import write_atomic, write_npz

ARRAYS = ("outputs", "labels", "digests", "sizes")


class Shards:
    """The shards in a folder: outputs (R, n, K), labels (n,), and the digest and size of each batch.

    Parameters
    ----------
    folder
        Is made if it is missing.
    identity
        What the collection is of, besides the data: JSON. A folder of another one is refused.

    Raises
    ------
    InvalidInputError
        If the folder holds shards of something else, or its `collection.json` cannot be read.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder, manifest = folder, folder / "collection.json"
        text = json.dumps(identity, indent=2, sort_keys=True)
        if manifest.exists():
            known = _known(manifest)
            if differing := [key for key in identity if known.get(key) != identity[key]]:
                raise InvalidInputError(
                    f"{folder}: holds shards of another collection ({', '.join(differing)} differ); name "
                    "another folder, or delete this one"
                )
        elif folder.is_dir() and any(folder.glob("shard-*.npz")):
            raise InvalidInputError(f"{folder}: holds shards without collection.json; name another folder")
        else:
            write_atomic(manifest, text)
        self.parts: list[dict[str, NDArray[Any]]] = []
        while (path := self._path(len(self.parts))).exists():
            self.parts.append(read_arrays(path, ARRAYS, (".npz",))[0])
        self.digests = [digest.tobytes() for part in self.parts for digest in part["digests"]]

    def _path(self, number: int) -> Path:
        return self.folder / f"shard-{number:05d}.npz"

    def check(self, number: int, digest: bytes) -> None:
        """Refuse a batch that is not the one whose outputs are here.

        Raises
        ------
        InvalidInputError
            If it is another one.
        """
        if self.digests[number] != digest:
            raise InvalidInputError(
                f"{self.folder}: batch {number} is not the one whose outputs are here: other data, another "
                "batch size or order, or random changes of images. Name another folder, or delete this one"
            )

    def write(
        self,
        outputs: NDArray[Any],
        labels: NDArray[Any] | None,
        digests: Sequence[bytes],
        sizes: Sequence[int],
    ) -> None:
        """Write the next shard."""
        both = np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1)
        part = {"outputs": outputs, "digests": both, "sizes": np.array(sizes)}
        if labels is not None:
            part["labels"] = labels
        write_npz(self._path(len(self.parts)), part)
        self.parts.append(part)


def _known(manifest: Path) -> dict[str, Any]:
    try:
        known = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError:
        known = None
    if not isinstance(known, dict):
        raise InvalidInputError(f"{manifest}: cannot be read; name another folder, or delete this one")
    return known
