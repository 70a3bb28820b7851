"""What the README tells Python users to write runs, in the order in which it stands there."""

import re

import numpy as np

from shiftcast.estimators import Estimator
from shiftcast.testing import check_estimator, make_predictions
from shiftcast.util.arrays import softmax
from support import REPOSITORY


def examples():
    """Return the README's Python: its indented blocks that import from us, without shell lines."""
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", (REPOSITORY / "README.md").read_text(), flags=re.MULTILINE)
    code = [re.sub(r"^ {4}", "", block, flags=re.MULTILINE) for block in blocks if "from shiftcast" in block]
    return [re.sub(r"^\.venv.*$", "", block, flags=re.MULTILINE) for block in code]


def test_the_readmes_python_runs(capsys):
    source, target = make_predictions(300, seed=1, members=6), make_predictions(200, seed=2, shift=1.0)
    names = {
        "val_logits": source.logits,
        "val_labels": source.labels,
        "val_probs": softmax(source.logits),
        "prod_logits": target.logits,
        "members": source.reference,
    }
    blocks = examples()
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102  our own README
    said = capsys.readouterr().out
    assert said.count("Estimate(accuracy=") == 2
    assert "'calibrator': 'ClassTemperature'" in said
    assert np.shape(names["scores"]) == (300,)
    assert isinstance(names["Pessimist"](), Estimator)
    check_estimator(names["Pessimist"]())
