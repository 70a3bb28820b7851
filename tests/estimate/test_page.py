"""The page: its charts, the bins that carry the drop and their images, a phone's width, dark mode."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from typer.testing import CliRunner

from shiftcast.cli.app import app
from shiftcast.estimate.charts import drop_chart, histogram_chart, interval_chart
from shiftcast.estimate.drop import predicted_drop
from shiftcast.estimate.html import carrying_sentence
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions


def two_classes(counts, right):
    """Images at confidences 0.95, 0.75 and 0.55, so many each, of which the first are right."""
    logits, labels = [], []
    for confidence, count, hits in zip((0.95, 0.75, 0.55), counts, right, strict=True):
        logits += [[np.log(confidence), np.log(1 - confidence)]] * count
        labels += [0] * hits + [1] * (count - hits)
    return Predictions("set", np.array(logits), kind="logits", labels=np.array(labels))


def test_a_bin_adds_the_errors_of_the_images_it_gains_and_the_easy_one_is_not_named():
    """By hand: shares 80, 10, 10 % become 50, 20, 30 %; errors there are 5, 20 and 40 %."""
    source = two_classes((800, 100, 100), (760, 80, 60))
    target = two_classes((500, 200, 300), (500, 0, 0))
    drop = predicted_drop(source, target)
    told = {round(one["from"], 1): one for one in drop["bins"] if one["target_share"]}
    added = {start: one["drop"] for start, one in told.items()}
    assert list(added.values()) == pytest.approx([-0.3 * 0.05, 0.1 * 0.2, 0.2 * 0.4], abs=1e-6)
    assert sum(added.values()) == pytest.approx(drop["drop"], abs=1e-6)
    assert [one["carries"] for one in told.values()] == [False, False, True]
    (hardest,) = [one for one in drop["bins"] if one["carries"]]
    assert hardest["images"] == list(range(700, 800))
    assert drop["images"] == list(range(700, 1000))
    assert carrying_sentence(drop).startswith("The drop comes from images whose 1 - confidence is 0.4")
    assert "(+8.00 pp): 30.00 % of the target, 10.00 % of the source." in carrying_sentence(drop)


def test_images_of_all_bins_that_carry_are_named_and_no_others():
    source, target = make_predictions(800, seed=1), make_predictions(600, seed=2, shift=1.0)
    bare = [Predictions(one.name, one.logits, labels=one.labels) for one in (source, target)]
    drop = predicted_drop(*bare)
    gains = [max(one["drop"], 0) for one in drop["bins"]]
    carried = [one["drop"] for one in drop["bins"] if one["carries"]]
    assert sum(carried) >= 0.8 * sum(gains) > sum(carried) - min(carried)
    for one in drop["bins"]:
        assert ("images" in one) == one["carries"]
        for image in one.get("images", []):
            assert one["from"] <= 1 - bare[1].confidence[image] < one["to"]
    assert carrying_sentence(predicted_drop(bare[0], bare[0])).startswith("No bin adds errors")


def test_neighbouring_bins_are_named_together():
    bins = [
        {"from": k / 10, "to": (k + 1) / 10, "drop": gain, "carries": gain > 0.015}
        | {"target_share": 0.1, "source_share": 0.05}
        for k, gain in enumerate((-0.01, 0.02, 0.03, 0.01, 0.04))
    ]
    said = carrying_sentence({"score": "confusion", "bins": bins})
    assert "is 0.10 to 0.30 (+5.00 pp) and 0.40 to 0.50 (+4.00 pp): 30.00 % of the target" in said


def numbers(svg, pattern):
    return [float(value) for value in re.findall(pattern, svg)]


def test_the_chart_of_estimates_places_dots_and_ends_on_one_scale():
    rows = [
        {"name": "the answer", "accuracy": 0.6, "wide": (0.4, 0.8), "narrow": None},
        {"name": "an estimator of a very long name", "accuracy": 0.9, "wide": None, "narrow": (0.85, 0.95)},
        {"name": "alone", "accuracy": None, "wide": (0.5, 1.0), "narrow": None},
    ]
    svg = interval_chart(rows, 0.95, 0.7, "the answer")
    dots = numbers(svg, r'<circle cx="([\d.]+)"')
    first, last = numbers(svg, r'<line x1="([\d.]+)" y1="[\d.]+" x2="[\d.]+" y2="[\d.]+" class="wide-end"')
    ends = numbers(svg, r'x2="([\d.]+)" y2="[\d.]+" class="wide-end"')
    unit = (dots[1] - dots[0]) / 0.3
    assert len(dots) == 2
    assert dots[0] - first == pytest.approx(0.2 * unit, abs=0.2)
    assert ends[0] - dots[0] == pytest.approx(0.2 * unit, abs=0.2)
    assert ends[1] - last == pytest.approx(0.5 * unit, abs=0.2)
    assert max(ends) <= 360
    (actual,) = numbers(svg, r'<line x1="([\d.]+)"[^>]+class="actual"')
    assert actual - dots[0] == pytest.approx(0.1 * unit, abs=0.2)
    assert "an estimator of a very …" in svg
    assert svg.count("leads") == 1


def test_the_histogram_has_the_shares_of_images_as_heights():
    svg = histogram_chart("confidence", np.array([0.01] * 3 + [0.99]), np.full(4, 0.51), 1.0)
    source, target = (
        [tuple(map(float, pair.split(","))) for pair in points.split()]
        for points in re.findall(r'points="([^"]+)"', svg)
    )
    floor_y, top = source[2][1], target[20][1]
    assert {y for x, y in target} == {floor_y, top}
    assert (floor_y - source[0][1]) / (floor_y - top) == pytest.approx(0.75, abs=0.01)
    assert (floor_y - source[-1][1]) / (floor_y - top) == pytest.approx(0.25, abs=0.01)


def test_the_tallest_bar_is_the_bin_that_adds_most():
    drop = predicted_drop(
        two_classes((800, 100, 100), (760, 80, 60)), two_classes((500, 200, 300), (0, 0, 0))
    )
    svg = drop_chart(drop)
    heights = re.findall(r'height="([\d.]+)" class="bar (\w+)"', svg)
    assert max(heights, key=lambda one: float(one[0]))[1] == "target"
    assert [kind for _, kind in heights].count("target") == sum(one["carries"] for one in drop["bins"])
    assert "+8.0" in svg


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    source, target = make_predictions(600, seed=1), make_predictions(500, seed=2, shift=1.0)
    np.savez(folder / "val.npz", logits=source.logits, labels=source.labels)
    np.savez(folder / "prod.npz", logits=target.logits, labels=target.labels)
    np.savez(folder / "others.npz", source=source.reference, target=target.reference)
    files = [f"--{key}={folder / name}.npz" for key, name in (("source", "val"), ("target", "prod"))]
    options = ["--classes", f"--ensemble={folder / 'others.npz'}", "--html", str(folder / "a.html")]
    result = CliRunner().invoke(app, ["estimate", *files, *options])
    assert result.exit_code == 0, result.output
    return folder / "a.html"


def test_the_page_has_a_chart_of_estimates_of_the_drop_and_of_both_distributions(written):
    text = written.read_text()
    assert text.count('<svg class="chart"') == 4
    assert "difficulty" in text
    assert text.count('class="bar target"') == text.count(" ●</td>") > 0
    assert text.index("Where the drop is predicted") < text.index("Images that carry it")


def test_both_schemes_have_every_colour_of_the_page(written):
    style = written.read_text().split("<style>")[1].split("</style>")[0]
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    used = set(re.findall(r"var\((--\w+)\)", style))
    assert used
    for scheme in (light, dark.split("*, *::before")[0]):
        assert used <= set(re.findall(r"(--\w+):", scheme))
    outside = style.split("*, *::before")[1]
    assert not re.search(r"#[0-9a-fA-F]{3,6}\b", outside)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_phone_shows_the_page_without_scrolling_sideways(written):
    probe = written.with_name("probe.html")
    frame = f'<iframe src="{written.name}" width="375" height="700" style="border:0"></iframe>'
    script = (
        "<script>onload = () => { const d = document.querySelector('iframe').contentDocument;"
        "const charts = [...d.querySelectorAll('.chart')].map(s => s.getBoundingClientRect());"
        "document.title = d.documentElement.scrollWidth + ' ' + Math.max(...charts.map(c => c.right)) + ' ' +"
        "Math.min(...charts.map(c => c.width)); }</script>"
    )
    probe.write_text(f"<!doctype html><title></title>{frame}{script}")
    options = ["--headless", "--no-sandbox", "--allow-file-access-from-files", "--dump-dom"]
    command = ["chromium", *options, "--virtual-time-budget=4000", probe.as_uri()]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    width, right, narrowest = map(float, re.search(r"<title>([\d. ]+)</title>", said)[1].split())
    assert width <= 375
    assert right <= 375
    assert narrowest >= 320  # letters of 11 px stay above 10
