"""A file that is being fetched: the bytes so far, and where they are from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from shiftcast.util.files import write_atomic


class Origin(BaseModel):
    """Where a partial file's bytes are from."""

    url: str
    validator: str = ""
    total: int | None = None


@dataclass(frozen=True)
class Partial:
    """A file that is being fetched, and a note of where its bytes are from, in a folder of their own."""

    folder: Path

    @property
    def path(self) -> Path:
        """The bytes so far."""
        return self.folder / "part"

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def origin(self) -> Origin | None:
        """Where the bytes are from; None where that is unknown."""
        try:
            return Origin.model_validate_json((self.folder / "part.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def begin(self, origin: Origin) -> None:
        """Start anew with bytes from `origin`."""
        self.discard()
        write_atomic(self.folder / "part.json", origin.model_dump_json())

    def discard(self) -> None:
        """Forget what has come."""
        self.path.unlink(missing_ok=True)
        (self.folder / "part.json").unlink(missing_ok=True)
