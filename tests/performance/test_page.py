"""A site of a hundred runs, thirty shifts and twenty estimators: how large it gets."""

import numpy as np
import pandas as pd

from shiftcast.board.build import build_board
from shiftcast.board.tables import ConfusionTables
from shiftcast.site.build import site, vega_bundle, write_site
from shiftcast.site.images import data_uri
from shiftcast.site.outputs import SHOWN_IMAGES, NotableImage, Outputs, SetImages, answers
from shiftcast.site.suite import Section
from support.scores import build

MEGABYTES = 15.0
MODELS, NATURAL, SYNTHETIC, ESTIMATORS, IMAGES, CLASSES = 100, 10, 20, 20, 2000, 10


def make_scores():
    """Return scores of the full size; every estimator has one track and one spread."""
    estimators = {
        "NoShift": ("T1", "", 0.1),
        "MeanShift": ("T5", "", 0.05),
        "ConfusionPartition": ("T2", "", 0.02),
    }
    estimators |= {f"E{k}": (f"T{1 + k % 5}", "", 0.02) for k in range(ESTIMATORS - len(estimators))}
    return build(
        architectures=[f"net-{k}" for k in range(MODELS)],
        seeds=(0,),
        natural=[f"natural-{k}" for k in range(NATURAL)],
        transforms=[f"synthetic-{k}" for k in range(SYNTHETIC)],
        severities=(3,),
        withheld=(),
        estimators=estimators,
    )


def make_confusion(scores, sets):
    """Return made-up tables of confusion for every set and model."""
    random = np.random.RandomState(0)
    models = scores.runs[["architecture", "recipe"]].drop_duplicates()
    bins = pd.DataFrame({"bin": np.arange(10), "n": IMAGES // 10, "images": IMAGES // 10})
    accuracy = models.merge(pd.DataFrame({"set": sets}), how="cross").merge(bins, how="cross")
    accuracy["right"] = random.randint(IMAGES // 10, size=len(accuracy))
    histogram = pd.DataFrame({"set": sets}).merge(pd.DataFrame({"bin": np.arange(20)}), how="cross")
    groups = {target.id: target.group for target in scores.targets}
    frame = pd.DataFrame({"set": sets, "group": [groups.get(name, "") for name in sets]})
    empty = pd.DataFrame()
    return ConfusionTables(
        kind="entropy",
        members=[],
        threshold=0.5,
        sets=frame.assign(mean=0.3, above=0.1, natural=False),
        histogram=histogram.assign(share=0.05),
        accuracy=accuracy,
        **dict.fromkeys(("reliability", "lines", "pairs", "drop", "sensitivity", "ranks"), empty),
        **dict.fromkeys(("ensembles", "shared"), empty),
        human=None,
        human_note="",
    )


def test_a_large_site_takes_megabytes(tmp_path):
    import dataclasses

    scores = make_scores()
    sets = ["test-set", *(target.id for target in scores.targets)]
    assert scores.table.groupby(["architecture", "seed"]).ngroups == MODELS
    assert len({target.group for target in scores.targets}) == NATURAL + SYNTHETIC
    assert scores.table["estimator"].nunique() == ESTIMATORS
    random = np.random.RandomState(0)
    logits = random.normal(size=(IMAGES, CLASSES)).astype(np.float16)
    labels = random.randint(CLASSES, size=IMAGES)
    names = [f"class {k}" for k in range(CLASSES)]
    some = [NotableImage(k, k, 0.5, names[0], names[1], 0.5) for k in range(2 * SHOWN_IMAGES)]
    noise = data_uri(random.randint(256, size=(32, 32, 3), dtype=np.uint8))  # nothing to compress
    pictures = {name: dict.fromkeys(range(2 * SHOWN_IMAGES), noise) for name in sets[1:]}

    scores = dataclasses.replace(scores, confusion=make_confusion(scores, sets))
    models = {
        (str(a), str(r)): {name: answers(logits, labels) for name in sets}
        for a, r in scores.runs[["architecture", "recipe"]].itertuples(index=False)
    }
    images = {name: SetImages(some[:SHOWN_IMAGES], some[SHOWN_IMAGES:]) for name in sets[1:]}
    section = Section(
        build_board(scores), "sample", outputs=Outputs(names, models, images), pictures=pictures
    )
    made = site([section], vega_bundle())
    write_site(made, tmp_path / "site")
    size = sum(path.stat().st_size for path in (tmp_path / "site").rglob("*") if path.is_file()) / 1e6
    assert size < MEGABYTES, f"{size:.1f} MB, {len(made)} files"
