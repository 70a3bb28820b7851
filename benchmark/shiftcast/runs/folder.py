"""Runs on disk: `run.json` and `predictions.safetensors`, written atomically and read with suspicion.

`run.json` is written last, so its presence means that the run is complete. Logits are stored as
float16; where labels are known, `true_rank` holds the rank of the true class among the *stored*
logits, so that labels and correctness follow without any dataset.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from shiftcast.cards.base import explain
from shiftcast.errors import InvalidInputError, RunError
from shiftcast.runs.outputs import LARGEST_PREDICTIONS, FileState, StoredSet, decode_predictions, left_in_file
from shiftcast.runs.record import LARGEST_RECORD, SCHEMA, AnyRecord, ReportedRecord, RunRecord
from shiftcast.runs.signals import FILE as SIGNALS
from shiftcast.runs.signals import LARGEST_SIGNALS, Signals, check_agreement, decode_signals
from shiftcast.util.files import read_regular, write_atomic
from shiftcast.util.hashing import parse_json, sha256


@dataclass(frozen=True)
class RunFolder:
    """One run's folder, `results/SUITE/ARCHITECTURE/RECIPE/seed-N/`."""

    path: Path

    @property
    def record_path(self) -> Path:
        """Where `run.json` stands."""
        return self.path / "run.json"

    @property
    def predictions_path(self) -> Path:
        """Where `predictions.safetensors` stands."""
        return self.path / "predictions.safetensors"

    @property
    def signals_path(self) -> Path:
        """Where `signals.safetensors` stands, if the run has any."""
        return self.path / SIGNALS

    def write(
        self, record: RunRecord | ReportedRecord, predictions: bytes, signals: bytes | None = None
    ) -> None:
        """Write the files atomically, `run.json` last; signals that the record does not state go."""
        write_atomic(self.predictions_path, predictions)
        if signals is not None:
            write_atomic(self.signals_path, signals)
        self.write_record(record)
        if getattr(record, "signals_sha256", None) is None:
            self.signals_path.unlink(missing_ok=True)

    def write_record(self, record: RunRecord | ReportedRecord) -> None:
        """Write `run.json` alone, atomically."""
        text = json.dumps(record.json_values(), indent=1, sort_keys=True, allow_nan=False)
        write_atomic(self.record_path, text + "\n")

    def read_record(self) -> RunRecord:
        """Return `run.json`.

        Raises
        ------
        RunError
            If it is missing, not JSON, of another schema or not valid.
        """
        return self._record(RunRecord)

    def _record(self, model: type[AnyRecord]) -> AnyRecord:
        path = self.record_path
        try:
            values = parse_json(read_regular(path, LARGEST_RECORD))
        except FileNotFoundError as error:
            raise RunError(f"{path}: is missing; the run is incomplete: {model.remedy}") from error
        except InvalidInputError as error:
            raise RunError(str(error)) from error
        except ValueError as error:
            raise RunError(f"{path}: is not valid JSON: {error}; {model.remedy}") from error
        version = values.get("schema_version") if isinstance(values, dict) else None
        if version != SCHEMA:
            raise RunError(
                f"{path}: schema_version is {version!r}, but this version of Shiftcast reads {SCHEMA}; "
                f"install the version that wrote it, or {model.remedy}"
            )
        try:
            return model.model_validate(values)
        except ValidationError as error:
            raise RunError(f"{path}: {explain(error)}; {model.remedy}") from error

    def read(self, filed: bool = False) -> tuple[RunRecord, dict[str, StoredSet]]:
        """Return the record and the predictions, checked against each other.

        Parameters
        ----------
        filed
            Leave the outputs in their file once they are checked: they are read when they are asked for.

        Raises
        ------
        RunError
            If either is missing or damaged, or the predictions are not those of the record.
        """
        return self._both(RunRecord, filed)

    def read_reported(self, filed: bool = False) -> tuple[ReportedRecord, dict[str, StoredSet]]:
        """Return the record and the predictions of a self-reported run, as `read` those of other runs."""
        return self._both(ReportedRecord, filed)

    def _both(self, model: type[AnyRecord], filed: bool) -> tuple[AnyRecord, dict[str, StoredSet]]:
        record = self._record(model)
        path = self.predictions_path
        try:
            state = FileState.of(path.lstat())
            data = read_regular(path, LARGEST_PREDICTIONS)
        except FileNotFoundError as error:
            raise RunError(f"{path}: is missing; {model.remedy}") from error
        except InvalidInputError as error:
            raise RunError(str(error)) from error
        try:
            sets = decode_predictions(data, str(path))
        except RunError as error:
            raise RunError(f"{error}; {model.remedy}") from error
        if sha256(data) != record.predictions_sha256:
            raise RunError(f"{path}: its SHA-256 differs from the one in run.json; {model.remedy}")
        for name, result in record.targets.items():
            if name not in sets or sets[name].n != result.n:
                raise RunError(
                    f"{path}: does not hold the {result.n} images of {name!r} that run.json states; "
                    f"{model.remedy}"
                )
        stated = record.outputs if isinstance(record, ReportedRecord) else "logits"
        if any(one.hard != (stated == "classes") for one in sets.values()):
            raise RunError(f"{path}: does not hold the {stated} that run.json states; {record.remedy}")
        if isinstance(record, RunRecord):
            self.read_signals(record, sets)
        return record, left_in_file(path, state, data, sets) if filed else sets

    def read_signals(self, record: RunRecord, sets: Mapping[str, StoredSet]) -> Signals | None:
        """Return the run's signals, checked against its record and predictions; None if it has none.

        Raises
        ------
        RunError
            If the record states a file that is missing, damaged, of another schema or of other images.
        """
        path, remedy = self.signals_path, record.remedy
        if record.signals_sha256 is None:
            return None
        try:
            data = read_regular(path, LARGEST_SIGNALS)
            signals = decode_signals(data, str(path))
            predicted = {name: one.logits.argmax(axis=1) for name, one in sets.items()}
            check_agreement(str(path), signals, predicted, len(record.epochs))
        except FileNotFoundError as error:
            raise RunError(f"{path}: is missing, though run.json states it; {remedy}") from error
        except (InvalidInputError, RunError) as error:
            raise RunError(f"{error}; {remedy}") from error
        if sha256(data) != record.signals_sha256:
            raise RunError(f"{path}: its SHA-256 differs from the one in run.json; {remedy}")
        return signals

    def complete(self) -> bool:
        """Whether the folder holds a readable, consistent run."""
        try:
            self.read()
        except RunError:
            return False
        return True
