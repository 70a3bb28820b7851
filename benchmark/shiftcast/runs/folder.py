"""One run on disk: its files are written atomically and read with suspicion.

`run.json` is written last, so its presence means that the run is complete. Logits are stored as
float16; where labels are known, `true_rank` holds the rank of the true class among the *stored*
logits, so that labels and correctness follow without any dataset.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from shiftcast.cards.suite import RunKey
from shiftcast.errors import InvalidInputError, RunError
from shiftcast.runs.layout import PREDICTIONS, RECORD, SIGNALS, key_of
from shiftcast.runs.outputs import StoredSet
from shiftcast.runs.problems import refusal
from shiftcast.runs.record import AnyRecord, Record, ReportedRecord, RunRecord
from shiftcast.runs.signals import LARGEST_SIGNALS, Signals, signals_of_run
from shiftcast.runs.soundness import Inspection, read_record
from shiftcast.util.files import read_regular, write_atomic


@dataclass(frozen=True)
class RunFolder:
    """One run's folder, `results/SUITE/ARCHITECTURE/RECIPE/seed-N/`."""

    path: Path

    @property
    def label(self) -> str:
        """Name of the folder of its suite: `SUITE`, or `SUITE@EDITION`."""
        return self.path.parts[-4]

    @property
    def key(self) -> RunKey:
        """Which run it should hold; `ValueError` where the folders' names cannot be those of a run."""
        return key_of(self.path)

    @property
    def record_path(self) -> Path:
        """Where `run.json` stands."""
        return self.path / RECORD

    @property
    def predictions_path(self) -> Path:
        """Where `predictions.safetensors` stands."""
        return self.path / PREDICTIONS

    @property
    def signals_path(self) -> Path:
        """Where `signals.safetensors` stands, if the run has any."""
        return self.path / SIGNALS

    def write(self, record: Record, predictions: bytes, signals: bytes | None = None) -> None:
        """Write the files atomically, `run.json` last; signals that the record does not state go."""
        write_atomic(self.predictions_path, predictions)
        if signals is not None:
            write_atomic(self.signals_path, signals)
        self.write_record(record)
        if getattr(record, "signals_sha256", None) is None:
            self.signals_path.unlink(missing_ok=True)

    def write_record(self, record: Record) -> None:
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
        record, problems = read_record(self.record_path, RunRecord)
        if problems:
            raise refusal(problems)
        return cast("RunRecord", record)

    def read(self, filed: bool = False) -> tuple[RunRecord, dict[str, StoredSet]]:
        """Return the record and the predictions, checked against each other.

        Parameters
        ----------
        filed
            Leave the outputs in their file once they are checked: they are read when they are asked for.

        Raises
        ------
        RunError
            If a file is missing or damaged, or does not belong to the others.
        """
        return self._both(RunRecord, filed)

    def read_reported(self, filed: bool = False) -> tuple[ReportedRecord, dict[str, StoredSet]]:
        """Return the record and the predictions of a self-reported run, as `read` those of other runs."""
        return self._both(ReportedRecord, filed)

    def _both(self, model: type[AnyRecord], filed: bool) -> tuple[AnyRecord, dict[str, StoredSet]]:
        inspected = Inspection(self, model, filed=filed)
        if inspected.problems:
            raise refusal(inspected.problems)
        return cast("AnyRecord", inspected.record), cast("dict[str, StoredSet]", inspected.sets)

    def read_signals(self, record: RunRecord, sets: Mapping[str, StoredSet]) -> Signals | None:
        """Return the run's signals, checked against its record and predictions; None if it has none.

        Raises
        ------
        RunError
            If the record states a file that is missing, damaged, of another schema or of other images.
        """
        if record.signals_sha256 is None:
            return None
        path = self.signals_path
        predicted = {name: one.logits.argmax(axis=1) for name, one in sets.items()}
        try:
            data = read_regular(path, LARGEST_SIGNALS)
        except (FileNotFoundError, InvalidInputError) as error:
            raise RunError(f"{path}: cannot be read, though run.json states it; {record.remedy}") from error
        return signals_of_run(data, str(path), record.signals_sha256, predicted, len(record.epochs))
