"""Libraries that only some transforms and formats need."""

from __future__ import annotations

from typing import Any

from shiftcast.errors import MissingExtraError


def opencv() -> Any:
    """Return OpenCV's module `cv2`.

    Raises
    ------
    MissingExtraError
        If it is not installed, with the command that installs it.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError("train", "opencv-python-headless") from error
    return cv2
