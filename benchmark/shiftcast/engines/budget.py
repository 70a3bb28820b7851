"""How long a command may go on beginning things: runs, and the epochs of their trainings."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from shiftcast.errors import InvalidInputError

MayBegin = Callable[[float], bool]
"""Says whether there is time to begin what is expected to take that many seconds, 0 where it is unknown."""
NOT_BEGUN = "not begun"
"""What is said of a run for which no time was left."""


@dataclass(frozen=True)
class Budget:
    """A time after which nothing is to end, on the monotonic clock that all processes of a machine share."""

    deadline: float = math.inf

    @classmethod
    def of(cls, minutes: float | None) -> Budget:
        """Return the budget of so many minutes from now; one without end when None.

        Raises
        ------
        InvalidInputError
            If that is no finite number above 0.
        """
        if minutes is None:
            return cls()
        if not (math.isfinite(minutes) and minutes > 0):
            raise InvalidInputError(f"--time-budget {minutes}: expected a finite number of minutes above 0")
        return cls(time.monotonic() + 60 * minutes)

    @property
    def left(self) -> float:
        """Seconds that are left; infinite without an end."""
        return self.deadline - time.monotonic()

    def allows(self, seconds: float) -> bool:
        """Whether what takes that long would end in time, if it were begun now."""
        return self.left > seconds
