"""Draw docs/corruptions.png: every corruption at every severity, on photographs that may be shown.

Run it with the development requirements: python docs/scripts/contact_sheet.py
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from skimage import data

from shiftcast.data import CORRUPTIONS, SEVERITIES, corrupt

CELL, LABEL, GAP, HEAD = 66, 150, 14, 20
CROPS = {
    "astronaut": (0, 90, 300),
    "chelsea": (0, 80, 300),
    "rocket": (0, 220, 380),
    "coffee": (30, 130, 340),
}
"""Top, left and side of a square of scikit-image's pictures: public domain or CC0."""


def photographs() -> np.ndarray:
    """Return four photographs uint8 (4, 32, 32, 3)."""
    squares = [
        Image.fromarray(getattr(data, name)()).crop((left, top, left + side, top + side))
        for name, (top, left, side) in CROPS.items()
    ]
    return np.stack([np.asarray(one.resize((32, 32), Image.Resampling.BOX)) for one in squares])


def sheet(images: np.ndarray) -> Image.Image:
    """Return a row for each type and, within it, the images at each severity."""
    block = len(images) * CELL + GAP
    size = LABEL + block * (1 + len(SEVERITIES)), HEAD + CELL * len(CORRUPTIONS)
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    for place, head in enumerate(["clean", *(f"severity {severity}" for severity in SEVERITIES)]):
        draw.text((LABEL + place * block, 4), head, fill="black")
    index = np.arange(len(images))
    for row, name in enumerate(CORRUPTIONS):
        top = HEAD + row * CELL
        draw.text((4, top + CELL // 2 - 6), name, fill="black")
        for place, made in enumerate([images, *(corrupt(images, name, s, index) for s in SEVERITIES)]):
            for column, one in enumerate(made):
                picture = Image.fromarray(one).resize((CELL - 2, CELL - 2), Image.Resampling.NEAREST)
                page.paste(picture, (LABEL + place * block + column * CELL, top))
    return page


if __name__ == "__main__":
    sheet(photographs()).quantize(256).save(Path(__file__).parents[1] / "corruptions.png", optimize=True)
