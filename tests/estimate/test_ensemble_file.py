import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from shiftcast.cli.app import app
from shiftcast.difficulty import KINDS, MORE_KINDS, difficulty, split_half_reliability
from shiftcast.errors import InvalidInputError
from shiftcast.estimate.inputs import read_ensemble
from shiftcast.statistics import spearman
from shiftcast.util.arrays import softmax

LOGITS = (
    np.random.default_rng(0).normal(size=(6, 40, 5)) * 2 + np.random.default_rng(1).normal(size=(40, 5)) * 3
)
MEMBERS = softmax(LOGITS)


def test_probabilities_and_logits_are_read_alike(tmp_path):
    np.save(tmp_path / "a.npy", MEMBERS)
    np.savez(tmp_path / "b.npz", probs=MEMBERS)
    np.savez(tmp_path / "c.npz", logits=LOGITS)
    for name in ("a.npy", "b.npz", "c.npz"):
        assert np.allclose(read_ensemble(tmp_path / name), MEMBERS)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (LOGITS, "expected probabilities, but values span .* 'logits'"),
        (MEMBERS[:2], "at least 3 members"),
        (MEMBERS[0], r"shape \(M, n, K\)"),
        (
            np.where(np.arange(5) == 1, np.nan, MEMBERS),
            r"values are NaN or infinite, the first at index \[0, 0, 1\]",
        ),
        (np.array([["a"]]), "expected numbers"),
        (MEMBERS * 1.1, "sum to 1.1"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InvalidInputError, match=message):
        read_ensemble(tmp_path / "a.npy")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("no")
    np.savez(tmp_path / "b.npz", other=MEMBERS)
    np.save(tmp_path / "c.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name, message in (
        ("a.txt", "expected a .npz, .npy or .safetensors file, got .txt"),
        ("b.npz", "it holds other"),
        ("c.npy", "cannot be read"),
        ("d.npy", "no such file"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            read_ensemble(tmp_path / name)


def test_the_command_writes_every_score(tmp_path):
    np.save(tmp_path / "mine.npy", MEMBERS)
    result = CliRunner().invoke(app, ["difficulty", "--ensemble", str(tmp_path / "mine.npy")])
    assert result.exit_code == 0, result.output
    assert "6 members, 40 images, 5 classes" in result.output
    assert "split-half reliability (Spearman): 0." in result.output
    table = pd.read_csv(tmp_path / "mine.difficulty.csv")
    assert set(table.columns) == {"image", "ensemble_class", *KINDS, *MORE_KINDS}
    for kind in (*KINDS, *MORE_KINDS):
        assert np.allclose(table[kind], difficulty(MEMBERS, kind), atol=1e-8)


def test_a_suite_and_an_ensemble_exclude_each_other():
    for arguments in (["difficulty"], ["difficulty", "quickstart", "--ensemble", "a.npy"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2
        assert "--ensemble FILE" in " ".join(result.output.split())


def test_entropy_of_the_mean_splits_into_member_entropy_and_disagreement():
    scale = np.log(5)
    together = difficulty(MEMBERS, "member_entropy") + difficulty(MEMBERS, "mutual_information") / scale
    assert together == pytest.approx(difficulty(MEMBERS, "entropy"), abs=3e-9)


def test_pairwise_divergence_against_a_loop():
    slow = np.zeros(40)
    for a in MEMBERS:
        for b in MEMBERS:
            slow += (a * np.log(a / b)).sum(axis=1)
    assert difficulty(MEMBERS, "pairwise_kl") == pytest.approx(slow / 30, abs=2e-9)
    certain = np.eye(3)[np.array([[0, 1], [0, 2], [0, 0]])]
    assert difficulty(certain, "pairwise_kl")[0] == 0
    assert np.isfinite(difficulty(certain, "pairwise_kl")).all()


def test_reliability_is_the_mean_over_splits_of_a_ring():
    rings = [([0, 1, 2], [3, 4, 5]), ([1, 2, 3], [4, 5, 0]), ([2, 3, 4], [5, 0, 1])]
    slow = [spearman(difficulty(MEMBERS[a]), difficulty(MEMBERS[b])) for a, b in rings]
    assert split_half_reliability(MEMBERS) == pytest.approx(np.mean(slow))
    with pytest.raises(InvalidInputError, match="at least 6 members, got 5"):
        split_half_reliability(MEMBERS[:5])
