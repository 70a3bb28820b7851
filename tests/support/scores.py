"""A suite's scores made of seeded random numbers, small enough to check by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from shiftcast.board.tables import SuiteScores
from shiftcast.cards.suite import Suite
from shiftcast.scoring.conformal import with_conformal

ESTIMATORS = {
    "NoShift": ("T1", "", 0.10),
    "ATC": ("T1", "", 0.02),
    "ConfusionPartition": ("T2", "", 0.015),
    "AgreementShift": ("T2", "photos", 0.01),
    "GDE": ("T3", "", 0.03),
    "MeanShift": ("T5", "", 0.05),
}
N_ID, N_NATURAL, N_SYNTHETIC = 4000, 2000, 1000


def make_suite(architectures, seeds, natural, transforms, severities, withheld):
    targets = [{"dataset": name} for name in natural]
    targets += [{"dataset": name, "level": "optional"} for name in withheld]
    if transforms:
        targets.append(
            {"dataset": "corrupted", "transforms": transforms, "severities": severities, "images": 1000}
        )
    return Suite.model_validate(
        {
            "name": "sample",
            "version": 1,
            "title": "Sample suite",
            "description": "Random numbers in the shape of a suite.",
            "source": {"train": "train-set", "test": "test-set"},
            "targets": targets,
            "runs": [{"architectures": architectures, "recipe": "plain", "seeds": seeds}],
            "reference": {"members": ["net-a", "net-b", "ref-c"], "reserves": ["ref-d"], "recipe": "plain"},
        }
    )


def build(
    architectures=("net-a", "net-b", "net-c", "net-d", "net-e"),
    seeds=(0, 1),
    natural=("photos", "sketches"),
    transforms=("fog", "noise"),
    severities=(1, 5),
    withheld=("unseen",),
    estimators=ESTIMATORS,
    seed=0,
):
    """Return scores with every run "ok" and every estimator on every target."""
    random = np.random.RandomState(seed)
    suite = make_suite(
        list(architectures), list(seeds), natural, list(transforms), list(severities), withheld
    )
    targets = suite.unfolded_targets()
    is_natural = {target.id: not target.derived for target in targets}
    runs, accuracies, table = [], [], []
    for place, architecture in enumerate(architectures):
        for number in seeds:
            run = {"architecture": architecture, "recipe": "plain", "seed": number}
            runs.append(
                {
                    **run,
                    "role": "scored",
                    "family": architecture.upper(),
                    "parameters": 10_000 * (place + 1),
                    "plain": True,
                    "device": "cpu",
                    "epochs": 2,
                    "status": "ok",
                }
            )
            at_home = 0.75 + 0.15 * place / len(architectures) + 0.01 * random.rand()
            right = round(at_home * N_ID)
            counts = {"right": right, "n": N_ID, "effective": float(N_ID)}
            accuracies.append({**run, "role": "scored", "set": "test-set", **counts})
            for target in targets:
                n = N_SYNTHETIC if target.derived else N_NATURAL
                drop = 0.04 * max(target.severity, 1) + 0.03 * random.rand()
                right = round((at_home - drop) * n)
                hidden = target.id in withheld
                counts = {"right": pd.NA if hidden else right, "n": n, "effective": float(n)}
                accuracies.append({**run, "role": "scored", "set": target.id, **counts})
                for name, (track, selected_on, spread) in estimators.items():
                    for protocol in ("official", "shared") if target.derived else ("official",):
                        guess = right / n + spread * random.randn()
                        predicted = at_home if name == "NoShift" else float(np.clip(guess, 0, 1))
                        table.append(
                            {
                                "suite": "sample",
                                **run,
                                "family": architecture.upper(),
                                "target": target.id,
                                "group": target.group,
                                "natural": is_natural[target.id],
                                "severity": target.severity,
                                "level": target.level,
                                "estimator": name,
                                "track": track,
                                "selected_on": selected_on,
                                "protocol": protocol,
                                "predicted": round(predicted, 6),
                                "low": round(max(predicted - 0.02, 0), 6),
                                "high": round(min(predicted + 0.02, 1), 6),
                                "nominal": 0.95,
                                "actual": float("nan") if hidden else right / n,
                                "n": n,
                                "effective": float(n),
                                "flagged": False,
                                "abstains": False,
                                "note": "mean corruption drop"
                                if name == "MeanShift" and not target.derived
                                else "",
                                "seconds": random.rand() / 100,
                            }
                        )
    return SuiteScores(
        suite=suite,
        edition="",
        targets=targets,
        natural=is_natural,
        runs=pd.DataFrame(runs).astype({"parameters": "Int64", "epochs": "Int64"}),
        accuracies=pd.DataFrame(accuracies).astype({"right": "Int64"}),
        table=with_conformal(pd.DataFrame(table)),
        skipped=pd.DataFrame(columns=["estimator", "reason", "rows"]),
        ensemble=pd.DataFrame(
            [
                {"architecture": "net-a", "family": "NET-A", "role": "member"},
                {"architecture": "net-b", "family": "NET-B", "role": "member"},
                {"architecture": "ref-c", "family": "REF-C", "role": "member"},
                {"architecture": "ref-d", "family": "REF-D", "role": "reserve"},
            ]
        ),
        dataset_notes={},
    )


def without_runs(scores: SuiteScores) -> SuiteScores:
    """Return the scores of a suite of which no run has finished."""
    return dataclasses.replace(
        scores,
        targets=[],
        runs=scores.runs.assign(status="missing"),
        accuracies=scores.accuracies.iloc[:0],
        table=scores.table.iloc[:0],
    )
