"""What reads bytes that anybody may have written, and mutations that keep most of a file's structure.

Both forms of the fuzzer use this: `test_readers.py` with hypothesis, `fuzz.py` with atheris. A reader may
refuse its input with a `ShiftcastError`; anything else that it raises is a defect.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd
from safetensors.numpy import save

from shiftcast.cards.architecture import ArchitectureCard, ClassicalCard
from shiftcast.cards.base import read_card
from shiftcast.cards.dataset import DatasetCard
from shiftcast.cards.recipe import FitRecipe, Recipe
from shiftcast.cards.suite import Suite
from shiftcast.data.fingerprints import DatasetUsed
from shiftcast.errors import RunError, ShiftcastError
from shiftcast.estimate.inputs import attach, in_order, read_set
from shiftcast.predictions import Predictions
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.ledger import Ledger, read_ledger
from shiftcast.runs.outputs import StoredSet, decode_predictions, encode_predictions
from shiftcast.runs.reading import inspect, problems_of
from shiftcast.runs.soundness import expected_of
from shiftcast.submission.create import import_run, make_claim
from shiftcast.util.arrays import looks_like_probabilities
from shiftcast.util.hashing import sha256
from support import REPOSITORY
from support.tiny import write_run
from support.workspaces import make_workspace
from support.zoo import Zoo

SECONDS, MEBIBYTES = 2.0, 500
"""The most that one input may take."""
DIGEST = b"0" * 64
"""Stands in a `run.json` for the SHA-256 of the predictions beside it, which a mutation would miss."""


class Reader(NamedTuple):
    """One way in: valid inputs, how they are mutated, and what reads them.

    `read` returns normally or raises `ShiftcastError` for whatever bytes.
    """

    form: str
    seeds: tuple[bytes, ...]
    read: Callable[[bytes], object]


def make_readers(folder: Path) -> Mapping[str, Reader]:
    """Return every reader by name; `folder` is new, and holds what they read."""
    zoo = _zoo(folder)
    return {**_cards(folder), **_runs(folder, zoo), **_estimate(folder, zoo), **_submissions(folder, zoo)}


def _zoo(folder: Path) -> Any:
    root = folder / "workspace"
    make_workspace(root)
    return Zoo(root, folder / "data", images=12)  # short inputs


# Cards


def _cards(folder: Path) -> dict[str, Reader]:
    kinds: dict[str, tuple[Any, dict[str, Any], str]] = {
        "architecture": (ArchitectureCard, {"sklearn": ClassicalCard}, "architectures"),
        "dataset": (DatasetCard, {}, "datasets"),
        "recipe": (Recipe, {"kind": FitRecipe}, "benchmark/recipes"),
        "suite": (Suite, {}, "benchmark/suites"),
    }
    found: dict[str, Reader] = {}
    for name, (model, others, place) in kinds.items():
        path = folder / f"{name}.toml"

        def read(data: bytes, path: Path = path, model: Any = model, others: Any = others) -> None:
            path.write_bytes(data)
            read_card(model, path, others)

        found[name] = Reader("text", _files(REPOSITORY / place), read)
    found["ledger"] = Reader("text", (_ledger(),), lambda data: _read_ledger(folder / "ledger", data))
    return found


def _files(folder: Path) -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in sorted(folder.glob("*.toml")))


def _ledger() -> bytes:
    entries = {f"zoo/net-{n}/self-reported/seed-0/run.json": ("recomputed", "0" * 64) for n in range(3)}
    return Ledger(Path(), {**entries}).text().encode()  # type: ignore[dict-item]


def _read_ledger(results: Path, data: bytes) -> None:
    results.mkdir(exist_ok=True)
    (results / "ledger.toml").write_bytes(data)
    read_ledger(results)


# Runs: run.json and predictions.safetensors


def bundle(record: bytes, predictions: bytes) -> bytes:
    """Return both files of a run as one input."""
    return len(record).to_bytes(4, "little") + record + predictions


def parts(data: bytes) -> tuple[bytes, bytes]:
    """Return the two files of an input."""
    length = int.from_bytes(data[:4], "little")
    return data[4 : 4 + length], data[4 + length :]


def _write(folder: Path, data: bytes) -> None:
    record, predictions = parts(data)
    record = record.replace(DIGEST, sha256(predictions).encode())
    (folder / "run.json").write_bytes(record)
    (folder / "predictions.safetensors").write_bytes(predictions)


def _runs(folder: Path, zoo: Any) -> dict[str, Reader]:
    with patch.dict(os.environ, SHIFTCAST_DATA=str(folder / "data")):
        reported = zoo.submit("known", zoo.logits(0))
    hard = zoo.submit("hard", zoo.classes(0))
    trained = _trained(folder, zoo.workspace)
    seeds = tuple(_bundled(place) for place in (reported, hard, trained))
    place = RunFolder(folder / "results" / "zoo" / "net" / "self-reported" / "seed-0")
    place.path.mkdir(parents=True)
    expected = expected_of(zoo.workspace, zoo.workspace.suite("zoo"))

    def read_run(data: bytes) -> None:
        _write(place.path, data)
        found = []
        for read in (place.read, place.read_reported):
            try:
                found.append(read(filed=True))
            except RunError:
                continue
        for _, sets in found:
            _use(sets)

    def inspected(data: bytes) -> None:
        _write(place.path, data)
        _ = [str(problem) for problem in problems_of(inspect(place, expected))]

    return {
        "run": Reader("bundle", seeds, read_run),
        "submission": Reader("bundle", seeds[:2], inspected),
        "predictions": Reader(
            "tensors",
            tuple(parts(seed)[1] for seed in seeds),
            lambda data: _use(decode_predictions(data, "predictions.safetensors")),
        ),
    }


def _use(sets: Mapping[str, StoredSet]) -> None:
    """Ask of stored outputs what the board asks."""
    for stored in sets.values():
        _ = stored.labels, stored.accuracy
    encode_predictions(sets)


def _trained(folder: Path, workspace: Any) -> RunFolder:
    suite, images = workspace.suite("tiny"), {}
    for name in (suite.source.test, "digits-shifted/contrast-2"):
        images[name] = SimpleNamespace(labels=np.arange(12) % 10, clusters=np.arange(12) // 2)
    data = SimpleNamespace(sets={name: _Images(one.labels) for name, one in images.items()}, used={})
    data.used = {name: DatasetUsed(fingerprint="0" * 64, edition="", n=12) for name in images}
    key = suite.scored_runs()[0]
    write_run(workspace, data, folder / "trained", key, "scored", 0)
    return RunFolder(next((folder / "trained").rglob("run.json")).parent)


class _Images:
    def __init__(self, labels: Any) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)


def _bundled(place: RunFolder) -> bytes:
    text = place.record_path.read_text()
    digest = re.search(r'"predictions_sha256": "([0-9a-f]{64})"', text)[1]  # type: ignore[index]
    return bundle(text.replace(digest, DIGEST.decode()).encode(), place.predictions_path.read_bytes())


# A person's own files


def _estimate(folder: Path, zoo: Any) -> dict[str, Reader]:
    logits = next(iter(zoo.logits(1).values())).astype(np.float64)
    labels = np.arange(len(logits)) % 4
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    known = Predictions(name="known", logits=logits, labels=labels)
    table = pd.DataFrame(logits, columns=["logit_a", "logit_b", "logit_c", "logit_d"]).round(3)
    table["label"], table["site"] = [*"abcd"] * 3, ["x", "y"] * 6
    names = ("a", "b", "c", "d")

    def read(suffix: str) -> Callable[[bytes], None]:
        path = folder / f"own{suffix}"

        def use(data: bytes) -> None:
            path.write_bytes(data)
            own = read_set(path, labelled=False)
            in_order(own, names)
            _ = looks_like_probabilities(own.predictions.probabilities), own.predictions.predicted

        return use

    def read_others(data: bytes) -> None:
        path = folder / "others.npz"
        path.write_bytes(data)
        for key in ("reference", "peers", "siblings"):
            with suppress(ShiftcastError):
                attach(known, known, key, path)

    def read_labels(data: bytes) -> None:
        source, path = folder / "unlabelled.npy", folder / "labels.npy"
        np.save(source, logits)
        path.write_bytes(data)
        read_set(source, labelled=True, labels=path)

    both = {"source": np.stack([probs] * 2), "target": np.stack([probs] * 2)}
    voted = {name: one.argmax(axis=2) for name, one in both.items()}
    return {
        "estimate-npz": Reader(
            "npz", (_npz(logits=logits, labels=labels), _npz(probs=probs.astype(np.float16))), read(".npz")
        ),
        "estimate-npy": Reader("npy", (_npy(logits), _npy(probs)), read(".npy")),
        "estimate-csv": Reader("text", (table.to_csv(index=False).encode(),), read(".csv")),
        "estimate-parquet": Reader("bytes", (table.to_parquet(),), read(".parquet")),
        "estimate-others": Reader("npz", (_npz(**both), _npz(**voted)), read_others),
        "estimate-labels": Reader("npy", (_npy(labels), _npy(labels.astype(np.uint8))), read_labels),
    }


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


# Submissions


def _submissions(folder: Path, zoo: Any) -> dict[str, Reader]:
    workspace = zoo.workspace
    suite, results = workspace.suite("zoo"), folder / "submitted"
    shutil.copytree(zoo.results / "zoo" / "known", results / "zoo" / "known")
    claim = make_claim(workspace, "net", 0, "net", None, "")
    logits, classes = zoo.logits(2), zoo.classes(2)
    rows = [
        pd.DataFrame(one, columns=[f"logit_{name}" for name in ("cat", "dog", "emu", "fox")]).assign(set=name)
        for name, one in logits.items()
    ]
    named = pd.concat([pd.DataFrame({"set": name, "predicted": one}) for name, one in classes.items()])

    def read(suffix: str, name: str = "") -> Callable[[bytes], None]:
        path = folder / f"submitted{suffix}"

        def use(data: bytes) -> None:
            path.write_bytes(data)
            try:
                import_run(workspace, suite, [(name, path)] if name else path, claim, results, force=True)
            finally:
                shutil.rmtree(results / "zoo" / "net", ignore_errors=True)

        return use

    tables = (pd.concat(rows).round(3).to_csv(index=False), named.to_csv(index=False))
    return {
        "submit-npz": Reader("npz", (_npz(**logits), _npz(**classes)), read(".npz")),
        "submit-safetensors": Reader("tensors", (save(logits), save(classes)), read(".safetensors")),
        "submit-csv": Reader("text", tuple(table.encode() for table in tables), read(".csv")),
        "submit-npy": Reader("npy", (_npy(logits["zoo-test"]),), read(".npy", "zoo-test")),
    }


# Mutations

TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*"|[-+]?[0-9][0-9_.eE+-]*|[A-Za-z_]+|\s+|.', re.DOTALL)
ODD = (
    *(
        b"null",
        b"true",
        b"false",
        b"NaN",
        b"inf",
        b"-inf",
        b"0",
        b"-1",
        b"1",
        b"2",
        b"0.5",
        b"-0.0",
        b"1e308",
    ),
    *(b"1e999", b"9" * 30, b"9" * 5000, b"0x" + b"f" * 5000, b"4294967296", b"18446744073709551616"),
    *(b'""', b'"a"', b'"\\u0000"', b'"\\ud800"', b'"\xff"', '"\u202e"'.encode(), b'"../../x"', b"'", b'"""'),
    *(b"[]", b"{}", b"[[]]", b"[0]", b'{"a":0}', b"[" * 3000, b'{"a":' * 3000, b"a.b.c.d = 1\n", b"[[a]]\n"),
    *(
        b"1979-05-27",
        b"07:32:00",
        b"1979-05-27T07:32:00Z",
        b"\x00",
        b"\n",
        b"\r",
        b",",
        b";",
        b"\t",
        b"=",
        b"#",
    ),
    *(
        b"\xef\xbb\xbf",
        b"O",
        b"<f8",
        b"|O",
        b">i8",
        b"<U9999999",
        b"<M8[ns]",
        b"F16",
        b"BF16",
        b"I64",
        b"BOOL",
    ),
)


def mutate(form: str, data: bytes, random: Random) -> bytes:
    """Return an input that differs from `data` in a few places, most often where it means something.

    Parameters
    ----------
    form
        "text" (TOML, JSON, CSV), "tensors" (safetensors), "npy", "npz", "bundle" (see `bundle`) or "bytes".
    data
        An input, valid or not.
    random
        Says what changes.
    """
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        with suppress(Exception):  # what is no such file any more stays as it is
            data = MUTATIONS["bytes" if random.random() < 0.1 else form](data, random)
    return data


def _bytes(data: bytes, random: Random) -> bytes:
    """Flip, cut out, double or truncate."""
    start = random.randrange(len(data) + 1)
    end = min(len(data), start + random.choice((1, 1, 2, 4, 8, 64)))
    what = random.randrange(5)
    if what == 0 and start < len(data):
        return data[:start] + bytes([data[start] ^ 1 << random.randrange(8)]) + data[start + 1 :]
    if what == 1:
        return data[:start] + random.randbytes(end - start) + data[end:]
    if what == 2:
        return data[:start]
    return data[:start] + data[end:] if what == 3 else data[:end] + data[start:]


def _text(data: bytes, random: Random) -> bytes:
    """Exchange, double or drop a word, a value or a line."""
    by_line = random.random() < 0.2
    pieces = data.splitlines(keepends=True) if by_line else TOKEN.findall(data)
    place, other = random.randrange(len(pieces)), random.randrange(len(pieces))
    what = random.randrange(6)
    if what < 2:
        pieces[place] = random.choice(ODD)
    elif what == 2:
        pieces[place] = pieces[other]
    elif what == 3:
        pieces.insert(place, pieces[other])
    elif what == 4:
        pieces.insert(place, random.choice(ODD))
    else:
        del pieces[place]
    return b"".join(pieces)


def _tensors(data: bytes, random: Random) -> bytes:
    """Change header or payload; most often the header's length stays right."""
    length = int.from_bytes(data[:8], "little")
    header, payload = data[8 : 8 + length], data[8 + length :]
    if random.random() < 0.7:
        header = _text(header, random)
    else:
        payload = _bytes(payload, random)
    kept = random.random() < 0.05
    return (length if kept else len(header)).to_bytes(8, "little") + header + payload


def _array(data: bytes, random: Random) -> bytes:
    """Change what an .npy file says of its array, or the array's bytes."""
    length = int.from_bytes(data[8:10], "little")
    header, payload = data[10 : 10 + length], data[10 + length :]
    if random.random() < 0.6:
        header = _text(header, random)
    else:
        payload = _bytes(payload, random)
    return data[:8] + len(header).to_bytes(2, "little") + header + payload


def _archive(data: bytes, random: Random) -> bytes:
    """Change a member of an archive, its name, or which there are."""
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        held = [(info.filename, opened.read(info)) for info in opened.infolist()]
    place = random.randrange(len(held))
    name, content = held[place]
    what = random.randrange(8)
    if what < 5:
        held[place] = (name, _array(content, random))
    elif what == 5:
        held[place] = (
            random.choice(("logits.npy", "probs.npy", "labels.npy", "labels", "x", "../x.npy")),
            content,
        )
    elif what == 6:
        held.append(random.choice(held))
    else:
        del held[place]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as made:
        for name, content in held:
            made.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


def _bundle(data: bytes, random: Random) -> bytes:
    record, predictions = parts(data)
    if random.random() < 0.6:
        return bundle(_text(record, random), predictions)
    return bundle(record, _tensors(predictions, random))


MUTATIONS: Mapping[str, Callable[[bytes, Random], bytes]] = {
    "bytes": _bytes,
    "text": _text,
    "tensors": _tensors,
    "npy": _array,
    "npz": _archive,
    "bundle": _bundle,
}
