"""Each warning about outputs: a case in which it fires, one in which it does not, and the figures it
states."""

import numpy as np
import pandas as pd
import pytest

from shiftcast.errors import InvalidInputError
from shiftcast.estimate.diagnoses import chance_distance, diagnoses, shift_statement
from shiftcast.estimate.inputs import about_columns, about_names, read_set
from shiftcast.estimate.warnings import warnings_about
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions
from shiftcast.util.arrays import softmax


def draw(n, seed, shares=None, signal=2.0, classes=5, factor=1.0, name="val"):
    """Images of classes in given shares whose posterior, under even shares, is softmax(logits / factor)."""
    random = np.random.default_rng(seed)
    labels = random.choice(classes, size=n, p=shares)
    values = signal * np.eye(classes)[labels] + random.normal(size=(n, classes))
    return Predictions(name, factor * signal * values, kind="logits", labels=labels)


SOURCE = draw(1000, 1)
TARGET = draw(800, 2, name="prod")


def only(word, source=SOURCE, target=TARGET, **options):
    """Return the one warning, which must be about a word."""
    found = warnings_about(source, target, **options)
    assert len(found) == 1, found
    assert word in found[0]
    return found[0]


def test_nothing_is_said_of_two_draws_of_one_kind():
    said = [diagnoses(draw(1000, seed), draw(800, seed + 50, name="prod")) for seed in range(30)]
    assert sum(map(bool, said)) <= 1, said


def test_changed_class_shares_are_told_with_the_class_that_grew():
    shares = [0.1, 0.1, 0.6, 0.1, 0.1]
    target = draw(800, 3, shares, name="prod")
    text = only("class mix", target=target, names=("cat", "dog", "eel", "fox", "ant"))
    known, there = ((own.predicted == 2).mean() for own in (SOURCE, target))
    assert f"eel with {100 * there:.2f} % of images instead of {100 * known:.2f} %" in text
    apart = sum(abs((SOURCE.predicted == k).mean() - (target.predicted == k).mean()) for k in range(5)) / 2
    assert f"changed: {100 * apart:.2f} pp of prod's images" in text
    assert warnings_about(SOURCE, draw(800, 3, [0.22, 0.2, 0.2, 0.2, 0.18], name="prod")) == []


def test_few_images_do_not_make_a_changed_class_mix():
    assert not any("class mix" in text for text in diagnoses(draw(100, 1), draw(110, 2)))


def test_the_distance_by_chance_is_that_of_a_simulation():
    random, shares = np.random.default_rng(0), np.full(100, 0.01)
    pairs = [
        (random.multinomial(500, shares) / 500, random.multinomial(800, shares) / 800) for _ in range(200)
    ]
    simulated = np.mean([np.abs(one - other).sum() / 2 for one, other in pairs])
    assert chance_distance(shares, 500, 800) == pytest.approx(simulated, rel=0.02)
    assert chance_distance(shares, 1, 1) == 1.0


def test_many_classes_for_the_images_are_told_with_the_bias_of_transport():
    def sets(n, m):
        return draw(n, 1, classes=100, signal=3.5), draw(m, 2, classes=100, signal=3.5, name="prod")

    (text,) = [text for text in warnings_about(*sets(500, 400)) if "100 classes are many" in text]
    assert "(K/n = 0.20) and 400 images of prod (K/m = 0.25)" in text
    source = sets(500, 400)[0]
    bias = chance_distance(np.bincount(source.labels, minlength=100) / 500, 500, 400)
    assert f"by {100 * bias:.2f} pp" in text
    assert not any("are many" in text for text in warnings_about(*sets(3000, 3000)))


@pytest.mark.parametrize(
    ("factor", "words", "sign"), [(3.0, "too sure", "+"), (0.35, "not sure enough", "-")]
)
def test_probabilities_that_are_wrong_on_the_source_itself_are_told(factor, words, sign):
    source = draw(1000, 1, signal=1.2, factor=factor)
    text = only(words, source, draw(800, 2, signal=1.2, factor=factor, name="prod"))
    gap = 100 * (source.confidence.mean() - source.accuracy)
    assert f"err by {gap:+.2f} pp" in text
    assert gap * float(sign + "1") > 5
    calibrated = [draw(n, n, signal=1.2, name=name) for n, name in ((1000, "val"), (800, "prod"))]
    assert warnings_about(*calibrated) == []


def test_outputs_that_no_source_image_has_are_counted():
    logits = TARGET.logits.copy()
    logits[:160] *= 5
    text = only("well beyond", target=Predictions("prod", logits, kind="logits"))
    share = float(text.split("(")[1].split(" %")[0])
    assert 16 < share <= 20
    logits = TARGET.logits.copy()
    logits[:20] *= 5
    assert warnings_about(SOURCE, Predictions("prod", logits, kind="logits")) == []


def test_ties_and_saturation_are_told():
    hard = softmax(400 * SOURCE.logits), softmax(400 * TARGET.logits)
    source, target = (
        Predictions(name, one, kind="probabilities", labels=own.labels)
        for name, one, own in zip(("val", "prod"), hard, (SOURCE, TARGET), strict=True)
    )
    told = [text for text in warnings_about(source, target) if "confidence of 1" in text]
    assert [text.split(":")[0] for text in told] == ["val", "prod"]
    logits = TARGET.logits.copy()
    logits[:40, 0] = logits[:40, 1] = logits[:40].max(axis=1) + 0.1
    text = only("same largest output", target=Predictions("prod", logits, kind="logits"))
    assert "prod: 5.00 % of images" in text


def test_repeated_rows_are_told_and_votes_are_not_taken_for_them():
    again = TARGET.select(np.concatenate([np.arange(800), np.arange(40)]))
    text = only("repeat the outputs", target=again)
    assert "prod: 40 of 840 rows repeat" in text
    assert warnings_about(SOURCE, TARGET.select(np.concatenate([np.arange(800), [0]]))) == []
    random, votes = np.random.default_rng(0), []
    for own in (SOURCE, TARGET):
        counts = np.array([random.multinomial(20, row) for row in own.probabilities])
        votes.append(Predictions(own.name, counts / 20, kind="probabilities", labels=own.labels))
    assert len(np.unique(votes[1].logits, axis=0)) < 600
    assert not any("repeat" in text or "rows of" in text for text in warnings_about(*votes))
    forest = [Predictions(o.name, o.logits[:150], kind="probabilities", labels=o.labels[:150]) for o in votes]
    assert not any("repeat" in text or "rows of" in text for text in warnings_about(*forest))
    sure = [
        Predictions(own.name, softmax(6 * own.logits), kind="probabilities", labels=own.labels)
        for own in (SOURCE, TARGET)
    ]
    assert len(np.unique(np.round(sure[1].logits, 11), axis=0)) < 750
    assert not any("repeat" in text or "rows of" in text for text in warnings_about(*sure))


def test_rows_that_source_and_target_share_are_told():
    mixed = Predictions("prod", np.concatenate([SOURCE.logits[:80], TARGET.logits[80:]]), kind="logits")
    assert "80 of 800 rows of prod are rows of val" in only("are rows of", target=mixed)
    one = Predictions("prod", np.concatenate([SOURCE.logits[:2], TARGET.logits[2:]]), kind="logits")
    assert warnings_about(SOURCE, one) == []
    whole = warnings_about(SOURCE, Predictions("prod", SOURCE.logits[::-1], kind="logits"))
    assert ["holds the same outputs" in text for text in whole] == [True]


@pytest.mark.parametrize("by", [1, -1])
def test_labels_one_row_apart_are_told(by):
    moved = SOURCE.with_labels(np.roll(SOURCE.labels, -by))
    (text,) = [text for text in diagnoses(moved, TARGET) if "one row apart" in text]
    assert ("previous" if by == 1 else "next") in text
    assert f"({100 * SOURCE.accuracy:.2f} %)" in text
    in_order = SOURCE.select(np.argsort(SOURCE.labels, kind="stable"))
    assert not any("apart" in text for text in diagnoses(in_order, TARGET))


def test_a_stretch_of_rows_out_of_order_is_told():
    labels = SOURCE.labels.copy()
    labels[600:] = np.random.default_rng(0).permutation(labels[600:])
    text = next(
        text for text in diagnoses(SOURCE.with_labels(labels), TARGET) if "by chance, the others" in text
    )
    assert "rows 600 to 999" in text
    sorted_rows = SOURCE.select(np.argsort(SOURCE.labels, kind="stable"))
    assert not any("the others" in text for text in diagnoses(sorted_rows, TARGET))


def test_copies_of_the_model_among_others_are_told_by_its_errors():
    random = np.random.default_rng(0)

    def with_peers(own, copied):
        independent = np.where(random.random(len(own)) < own.accuracy, own.labels, (own.labels + 2) % 5)
        copy = own.predicted.copy()
        few = random.random(len(own)) < 0.01
        copy[few] = (copy[few] + 1) % 5
        peers = np.stack([independent, copy if copied else independent])
        return Predictions(own.name, own.logits, kind="logits", labels=own.labels, peers=peers)

    source, target = draw(2000, 1, signal=1.4), draw(800, 2, signal=1.4, name="prod")
    text = only("a copy of it", with_peers(source, True), with_peers(target, True))
    assert text.startswith("--peers: model 1 (from 0) is wrong in the same way on 95 %")
    assert warnings_about(with_peers(source, False), with_peers(target, False)) == []


@pytest.mark.parametrize("share", [0.0, 0.06, 0.1])
def test_a_source_no_better_than_chance_is_always_told(share):
    """Whether below chance by accident, by far, or with all images in one class."""
    random = np.random.default_rng(1)
    own = make_predictions(400, 10, seed=1, name="val")
    right = random.random(400) < share
    labels = np.where(right, own.predicted, (own.predicted + random.integers(1, 10, 400)) % 10)
    told = warnings_about(own.with_labels(labels), TARGET_OF_TEN)
    assert any("below chance" in text or "no better than" in text for text in told), told
    one = np.eye(10)[np.full(400, 3)] + 1e-3 * own.logits
    wrong = Predictions("val", one, kind="logits", labels=np.where(labels == 3, 0, labels))
    told = warnings_about(wrong, TARGET_OF_TEN)
    assert any("below chance" in text for text in told), told
    assert any("one class" in text for text in told), told


TARGET_OF_TEN = make_predictions(300, 10, seed=2, name="prod")


def test_the_statement_on_no_shift_holds_in_95_percent_of_pairs():
    said = [shift_statement(draw(500, s, signal=1.5), draw(400, s + 900, signal=1.5)) for s in range(300)]
    assert 0.92 <= np.mean([not one["different"] for one in said]) <= 0.99
    assert all("no more than chance" in one["text"] for one in said if not one["different"])


def test_the_statement_gives_changes_in_points_beside_those_of_chance():
    target = draw(800, 4, [0.6, 0.1, 0.1, 0.1, 0.1], signal=1.5, name="prod")
    found = shift_statement(SOURCE, target)
    change = target.confidence.mean() - SOURCE.confidence.mean()
    limit = 2.2414 * np.sqrt(SOURCE.confidence.var() / 1000 + target.confidence.var() / 800)
    assert found["confidence_change"] == pytest.approx(change, abs=1e-6)
    assert found["confidence_by_chance"] == pytest.approx(limit, abs=1e-5)
    assert found["different"]
    assert found["class_change"] > found["class_change_by_chance"]
    assert f"mean confidence changed by {100 * change:+.2f} pp, by chance alone up to" in found["text"]
    hard = [Predictions.from_classes(own.name, own.predicted, 5) for own in (SOURCE, target)]
    assert shift_statement(*hard)["confidence_change"] is None


def written(tmp_path, columns, name="a.csv", **more):
    frame = pd.DataFrame(TARGET.logits[:, : len(columns)], columns=columns).assign(**more)
    frame.to_csv(tmp_path / name, index=False)
    return tmp_path / name


@pytest.mark.parametrize(
    ("columns", "hint"),
    [
        (["logits_a", "logits_b"], r"did you mean 'logit_a' by 'logits_a'\?"),
        (["Logit_a", "Logit_b"], "did you mean 'logit_a' by 'Logit_a'"),
        (["lgoit.a", "lgoit.b"], "did you mean 'logit_a' by 'lgoit.a'"),
        (["proba_a", "proba_b"], "did you mean 'prob_a' by 'proba_a'"),
        (["a", "b"], "its columns are a, b$"),
    ],
)
def test_columns_that_are_nearly_right_are_hinted_at(tmp_path, columns, hint):
    with pytest.raises(InvalidInputError, match=hint):
        read_set(written(tmp_path, columns), labelled=False)


def test_a_mistyped_column_beside_right_ones_is_told(tmp_path):
    path = written(tmp_path, ["logit_a", "logit_b", "logits_c"], camera="x", prob_seen=0.5)
    own = read_set(written(tmp_path, ["logit_a", "logit_b", "logits_c"], camera="x"), labelled=False)
    (text,) = about_columns(path, own)
    assert text.startswith("a.csv: column 'logits_c' is not read; call it 'logit_c'")
    assert about_columns(path, read_set(written(tmp_path, ["logit_a", "logit_b"], place="x"), False)) == []


def test_a_label_column_that_is_nearly_right_is_hinted_at(tmp_path):
    with pytest.raises(InvalidInputError, match="its column 'lable' is another one: call it 'label'"):
        read_set(written(tmp_path, ["logit_a", "logit_b"], lable="a"), labelled=True)


def test_class_names_in_one_file_alone_are_told(tmp_path):
    named = read_set(written(tmp_path, ["logit_a", "logit_b"]), labelled=False)
    np.savez(tmp_path / "b.npz", logits=TARGET.logits[:, :2])
    bare = read_set(tmp_path / "b.npz", labelled=False)
    (text,) = about_names(named, bare)
    assert text == "only a.csv names its classes: those of b.npz are taken to be in the same order (a, b)"
    assert about_names(bare, named) == about_names(named, bare)
    assert about_names(named, named) == about_names(bare, bare) == []


@pytest.mark.parametrize("shape", ["flat", "column"])
def test_one_probability_is_answered_with_how_to_stack_two_columns(tmp_path, shape):
    p = np.random.default_rng(0).random(50)
    z = np.log(p / (1 - p))
    for name, values, hint in (
        ("probs", p, r"numpy.column_stack\(\[1 - p, p\]\) \(p is what scikit-learn's predict_proba\[:, 1\]"),
        ("logits", z, r"of one logit z .*numpy.column_stack\(\[numpy.zeros_like\(z\), z\]\)"),
    ):
        values = values if shape == "flat" else values[:, None]
        np.savez(tmp_path / "a.npz", **{name: values})
        with pytest.raises(InvalidInputError, match=hint):
            read_set(tmp_path / "a.npz", labelled=False)
    np.save(tmp_path / "a.npy", p)
    with pytest.raises(InvalidInputError, match="column_stack"):
        read_set(tmp_path / "a.npy", labelled=False)
    pd.DataFrame({"p": p}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InvalidInputError, match=r"predict_proba\[:, 1\]\), write a column for each: table"):
        read_set(tmp_path / "a.csv", labelled=False)
    pd.DataFrame({"prob_1": p}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InvalidInputError, match="column_stack"):
        read_set(tmp_path / "a.csv", labelled=False)
