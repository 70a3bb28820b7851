"""The exception tree. Everything a user can cause is a `ShiftcastError`.

ShiftcastError                exit code 2
├── UnknownNameError          a card, suite, estimator … that does not exist ("did you mean")
├── CardError                 a TOML file that cannot be read as the card it should be
├── WorkspaceError            no workspace, or a folder that cannot be used as one
├── InvalidInputError         arrays or arguments that are refused (also a ValueError)
│   ├── RequirementError      an estimator lacks something that it needs; its row is skipped
│   └── BrokenEstimatorError  an estimator whose code fails or does not keep the contract
├── DataError                 a dataset that is there but not as its card says
│   └── MissingDataError      a dataset that is not there
├── RunError                  a results folder that is incomplete, damaged or of another schema
│   └── NewerSchemaError      a run that a newer version of Shiftcast wrote
├── TrainingError             a training that cannot go on
├── HeldError                 another process is at the same work
├── OutOfTimeError            a time budget is over; what is unfinished goes on later
├── MissingExtraError         an optional dependency is not installed
├── CheckFailedError          a check that ran and failed (exit code 1)
└── StoppedError              Ctrl-C (exit code 130; 143 on SIGTERM)

A message says what is wrong, where, what was expected, what came and what to do next.
"""

from __future__ import annotations

import difflib
import errno
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class ShiftcastError(Exception):
    """Base class of every error that a user can cause."""

    exit_code = 2


MOST_SHOWN = 24
"""Names that a message lists where none is near."""


class UnknownNameError(ShiftcastError):
    """A name that is not in a registry; the message offers the nearest ones.

    Parameters
    ----------
    kind
        What was looked up, in the singular ("suite", "architecture").
    name
        The name that was asked for.
    known
        Every name that exists.
    where
        Where the unknown name stands (a file and key), or empty.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        shown = ", ".join(names[:MOST_SHOWN]) or "none"
        more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {shown}{more}."
        place = f"{where}: " if where else ""
        super().__init__(f"{place}unknown {kind} {name!r}; {hint}")


class CardError(ShiftcastError):
    """A TOML file that cannot be read as the card it should be."""


class WorkspaceError(ShiftcastError):
    """No workspace was found, or the folder named cannot serve as one."""


class InvalidInputError(ShiftcastError, ValueError):
    """Arrays or arguments that are refused."""


class RequirementError(InvalidInputError):
    """An estimator needs an input that the predictions do not carry."""


class BrokenEstimatorError(InvalidInputError):
    """An estimator's code fails, or does not keep the contract of estimators."""


class DataError(ShiftcastError):
    """A dataset that is present but not as its card says."""


class MissingDataError(DataError):
    """A dataset that is not on this machine."""


class RunError(ShiftcastError):
    """A run folder that is incomplete, damaged or of another schema."""


class NewerSchemaError(RunError):
    """A run that a newer version of Shiftcast wrote: it is sound, and only that version can read it."""


class TrainingError(ShiftcastError):
    """A training that cannot go on."""


class HeldError(ShiftcastError):
    """Another process is at the same work."""


class OutOfTimeError(ShiftcastError):
    """A time budget is over before the work is done; the same command goes on from where it stands."""


class MissingExtraError(ShiftcastError):
    """An optional dependency is not installed."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(
            f"{package} is not installed, and this command needs it. "
            f"Install the extra: pip install 'shiftcast[{extra}]'"
        )


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Say which extra to install where an import inside the block fails for a package that is not there.

    Raises
    ------
    MissingExtraError
        If a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra, str(error.name)) from error


class CheckFailedError(ShiftcastError):
    """A check that ran to its end and failed."""

    exit_code = 1


class StoppedError(ShiftcastError):
    """A person stopped the work."""

    exit_code = 130


def with_line(error: BaseException) -> str:
    """Return an exception of other code in words, with the file and line of code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


_NO_ROOM = "make room on that disk, and repeat the command"
_NO_RIGHT = "name a folder that you may write to, or get the right to this one, and repeat the command"
REMEDIES = {errno.ENOSPC: _NO_ROOM, errno.EDQUOT: _NO_ROOM}
REMEDIES |= {errno.EROFS: _NO_RIGHT, errno.EACCES: _NO_RIGHT, errno.EPERM: _NO_RIGHT}


def in_words(error: OSError) -> str:
    """Return what the system refused: where, what, and what to do about a full or read-only disk."""
    where = f"{error.filename}: " if error.filename else ""
    remedy = REMEDIES.get(error.errno or 0, "")
    return f"{where}{error.strerror or error}{f'; {remedy}' if remedy else ''}"
