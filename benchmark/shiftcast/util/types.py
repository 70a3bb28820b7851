"""Types of arrays."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


Integers = NDArray[np.int64]


Classes = NDArray[np.integer[Any]]


Number = TypeVar("Number", bound=np.generic)
