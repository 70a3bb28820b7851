"""The site in headless Chromium: sorting, filters, charts, tooltips, keyboard, dark mode, a phone's width.

`visit` (see conftest) fails a test where the console says anything or anything but files is asked for.
"""

import re
from itertools import pairwise

import pytest

PHONE = {"width": 360, "height": 740}
PAGES = {
    "board": [
        *("index.html", "sample/models/net-a--plain.html", "sample/estimators/ATC.html"),
        *("sample/shifts/photos.html", "sample/shifts/fog.html", "sample/shifts/unseen.html"),
    ],
    "digits": [
        *("index.html", "tiny/models/test_vit--tiny.html", "tiny/estimators/ConfusionPartition.html"),
        "tiny/shifts/contrast.html",
    ],
}
EVERY = [(which, path) for which, paths in PAGES.items() for path in paths]
ESTIMATORS = "#table-estimators"


def column(page, table, heading):
    """Return the texts of a column in the rows that are shown."""
    heads = page.locator(f"{table} th").all_inner_texts()
    place = next(k for k, text in enumerate(heads) if text.split("\n")[0].strip() == heading)
    cells = page.locator(f"{table} tbody tr:not([hidden]) td:nth-child({place + 1})")
    return [text.strip() for text in cells.all_inner_texts()]


def said(page, chart):
    return page.locator(f'figure[data-chart="{chart}"] .said').inner_text()


def settle(page, choose):
    """Do something that draws the charts again, and wait for them."""
    count = "Math.min(...[...document.querySelectorAll('figure')].map(f => Number(f.dataset.drawn)))"
    before = page.evaluate(count)
    choose()
    page.wait_for_function(f"before => {count} > before", arg=before)


def choose(page, control, value):
    settle(page, lambda: page.locator(f'select[data-control="{control}"]').first.select_option(value))


@pytest.mark.parametrize(("which", "path"), EVERY)
def test_every_kind_of_page_draws_its_charts_in_silence(which, path, visit, request):
    page = visit(request.getfixturevalue(which), path)
    charts = page.locator("figure[data-chart]")
    assert charts.count() > 0 or "unseen" in path
    assert page.locator("figure svg").count() == charts.count()
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize(("which", "path"), EVERY)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_sideways(which, path, scheme, visit, request):
    page = visit(request.getfixturevalue(which), path, viewport=PHONE, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    wide = "[...document.querySelectorAll('figure svg')].map(s => s.getBoundingClientRect().right)"
    assert all(right <= PHONE["width"] for right in page.evaluate(wide))


def test_a_phone_tells_the_ticks_of_confusion_apart(digits, visit):
    for path, name in (("models/test_vit--tiny", "bins"), ("shifts/contrast", "histogram")):
        page = visit(digits, f"tiny/{path}.html", viewport=PHONE)
        ticks = page.locator(f'figure[data-chart="{name}"] .role-axis-label').first.locator("text")
        assert ticks.all_text_contents() == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        boxes = [ticks.nth(place).bounding_box() for place in range(6)]
        ends = [(box["x"], box["x"] + box["width"]) for box in boxes]
        assert all(end + 5 < start for (_, end), (start, _) in pairwise(ends))


@pytest.mark.parametrize("width", [PHONE["width"], 200])
def test_a_matrix_has_numbers_where_they_fit(digits, visit, width):
    page = visit(digits, "tiny/models/test_vit--tiny.html", viewport={**PHONE, "width": width})
    matrix = page.locator('figure[data-chart="matrix"]')
    assert (matrix.locator(".mark-text.role-mark text").count() > 0) == (width == PHONE["width"])
    assert "too narrow" in matrix.inner_text()


def test_a_chart_by_shift_is_as_high_as_its_shifts(board, visit):
    page = visit(board, "sample/estimators/ATC.html", viewport=PHONE)
    choose(page, "shift", "shift:fog")
    for name in ("errors", "coverage"):
        figure = page.locator(f'figure[data-chart="{name}"]')
        gap = (
            figure.locator(".plot").bounding_box()["height"] - figure.locator("svg").bounding_box()["height"]
        )
        assert gap < 10, name
    title = page.locator('figure[data-chart="coverage"] .role-axis-title text').bounding_box()
    plot = page.locator('figure[data-chart="coverage"] svg').bounding_box()
    assert title["x"] + title["width"] <= plot["x"] + plot["width"]


def test_a_click_sorts_and_another_turns_it_round(board, visit):
    page = visit(board)
    head = page.locator(f"{ESTIMATORS} th", has_text="MAE pp")
    assert head.get_attribute("aria-sort") == "none"
    head.get_by_role("button").click()
    rising = [float(text) for text in column(page, ESTIMATORS, "MAE pp")]
    assert head.get_attribute("aria-sort") == "ascending"
    assert rising == sorted(rising)
    assert len(rising) == 6
    head.get_by_role("button").click()
    falling = [float(text) for text in column(page, ESTIMATORS, "MAE pp")]
    assert head.get_attribute("aria-sort") == "descending"
    assert falling == rising[::-1]
    assert page.locator(f'{ESTIMATORS} th[aria-sort="none"]').count() > 5


def test_text_sorts_as_text_and_blanks_stay_last(board, visit):
    page = visit(board)
    page.locator(f"{ESTIMATORS} th", has_text="estimator").get_by_role("button").click()
    names = column(page, ESTIMATORS, "estimator")
    assert names[0].startswith("AgreementShift")
    assert names == sorted(names, key=str.casefold)
    choose(page, "shift", "shift:fog")
    head = page.locator(f"{ESTIMATORS} th", has_text="rank")
    for _ in range(2):
        head.get_by_role("button").click()
        assert set(column(page, ESTIMATORS, "rank")) == {"–"}, "one shift has no ranks"


def test_the_keyboard_reaches_and_sorts_a_table(board, visit):
    page = visit(board)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    for _ in range(60):
        page.keyboard.press("Tab")
        where = "document.activeElement.closest('#table-estimators th')?.textContent"
        if page.evaluate(where) == "MAE pp":
            break
    else:
        pytest.fail("sixty tabs do not reach the table's head")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid", "what has the focus shows it"
    page.keyboard.press("Enter")
    values = [float(text) for text in column(page, ESTIMATORS, "MAE pp")]
    assert values == sorted(values)
    page.keyboard.press("Space")
    assert [float(text) for text in column(page, ESTIMATORS, "MAE pp")] == values[::-1]


def test_filters_hide_rows_and_count_them(board, visit):
    page = visit(board)
    count = page.locator('output[data-count="estimators"]')
    assert count.inner_text() == "6 of 36 rows (shift: all natural)"
    choose(page, "track", "T2")
    assert set(column(page, ESTIMATORS, "track")) == {"T2"}
    assert count.inner_text() == "2 of 36 rows (shift: all natural, track: T2)"
    choose(page, "shift", "shift:sketches")
    assert set(column(page, ESTIMATORS, "shift")) == {"sketches"}
    choose(page, "track", "")
    page.get_by_label("Find in estimators").fill("partition")
    assert column(page, ESTIMATORS, "estimator") == ["ConfusionPartition"]
    assert count.inner_text() == "1 of 36 rows (shift: sketches, text: partition)"
    page.get_by_label("Find in estimators").fill("no such thing")
    assert column(page, ESTIMATORS, "estimator") == []
    choose(page, "family", "NET-B")
    assert column(page, "#table-models", "family") == ["NET-B"]
    said_of_models = page.locator('output[data-count="models"]').inner_text()
    assert said_of_models.startswith("1 of ")
    assert said_of_models.endswith("rows (family: NET-B)")
    choose(page, "family", "")
    assert "of" not in page.locator('output[data-count="models"]').inner_text(), "nothing is hidden"


def test_a_filter_of_a_table_is_its_own(board, visit):
    page = visit(board, "sample/models/net-a--plain.html")
    page.get_by_label("Kind").select_option("kind:natural")
    assert column(page, "#table-accuracies", "shift") == ["photos", "sketches"]


def test_filters_choose_the_points_of_charts(board, visit):
    page = visit(board)
    assert said(page, "predicted").startswith("ConfusionPartition: 20 points")
    choose(page, "family", "NET-A")
    assert said(page, "predicted").startswith("ConfusionPartition: 4 points")
    choose(page, "shift", "shift:fog")
    assert said(page, "predicted").startswith("ConfusionPartition: 4 points")  # two severities, two seeds
    choose(page, "estimator", "GDE")
    assert said(page, "predicted").startswith("GDE: 4 points")
    choose(page, "track", "T5")
    assert said(page, "predicted").startswith("MeanShift: 4 points")
    choose(page, "family", "")
    assert re.match(r"10 points, slope \d\.\d\d, R² \d\.\d\d \(probit axes\)", said(page, "lines"))


def test_axes_can_be_probit_logit_or_linear(board, visit):
    page = visit(board)
    places = {}
    for scale in ("probit", "logit", "linear"):
        if scale != "probit":
            choose(page, "scale", scale)
        text = page.locator('figure[data-chart="lines"] svg').text_content()
        assert ("axis" in text) == (scale != "linear")
        assert scale == "linear" or f"{scale} axis" in text
        ticks = page.locator('figure[data-chart="lines"] .role-axis-label text').all_text_contents()
        assert {"70", "80"} <= set(ticks), "ticks are round percentages"
        points = page.locator('figure[data-chart="lines"] .mark-symbol.role-mark path')
        places[scale] = [points.nth(k).get_attribute("transform") for k in range(points.count())]
    assert places["probit"] != places["linear"] != places["logit"]
    assert len(places["probit"]) == len(places["linear"])


def test_probit_axes_are_the_normal_quantile(board, visit):
    from shiftcast.statistics import fit_line, probit

    page = visit(board)
    choose(page, "shift", "shift:photos")
    data = page.evaluate("window.SHIFTCAST")
    place = [target["name"] for target in data["targets"]].index("photos")
    target = data["targets"][place]
    x = probit([value / data["units"] for value in data["id"]], data["idImages"])
    y = probit([value / data["units"] for value in target["actual"]], target["n"])
    line = fit_line(x, y)
    assert f"slope {line.slope:.2f}, R² {line.r2:.2f}" in said(page, "lines")


def test_hovering_a_point_shows_what_it_is(board, visit):
    page = visit(board)
    page.locator('figure[data-chart="predicted"] .mark-symbol.role-mark path').first.hover()
    tip = page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    text = tip.inner_text()
    for word in ("model", "net-a", "seed", "shift", "actual", "predicted", "pp"):
        assert word in text
    page.mouse.move(5, 5)
    page.wait_for_selector("#vg-tooltip-element.visible", state="hidden")


def test_the_keyboard_goes_through_a_charts_points(board, visit):
    page = visit(board, "sample/estimators/ATC.html")
    figure = page.locator('figure[data-chart="predicted"]')
    points = figure.locator(".mark-symbol.role-mark path").count()
    figure.locator(".plot").focus()
    tip, told = page.locator("#vg-tooltip-element.visible"), figure.locator(".told")
    seen = []
    for _ in range(points + 1):
        page.keyboard.press("ArrowRight")
        assert figure.locator(".here").count() == 1
        box = figure.locator(".here").bounding_box()
        seen.append((round(box["x"]), told.inner_text()))
    assert seen[-1] == seen[-2], "the last point stays"
    assert [x for x, _ in seen] == sorted(x for x, _ in seen)
    assert len({text for _, text in seen}) == points
    for word in ("model: ", "seed: ", "shift: ", "actual: ", "predicted: ", "error: "):
        assert word in told.text_content()
    assert tip.is_visible()
    page.keyboard.press("Home")
    assert told.text_content() == seen[0][1]
    page.keyboard.press("Escape")
    page.wait_for_selector("#vg-tooltip-element.visible", state="hidden")
    assert told.text_content() == ""
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.wait_for_url("**/sample/models/*.html")


def test_the_keyboard_goes_through_bars_and_cells(digits, visit):
    page = visit(digits, "tiny/models/test_vit--tiny.html")
    for chart, word in (("bins", "confusion: "), ("matrix", "answers: "), ("drop", "pp: ")):
        figure = page.locator(f'figure[data-chart="{chart}"]')
        figure.locator(".plot").focus()
        page.keyboard.press("ArrowRight")
        assert word in figure.locator(".told").text_content(), chart
        page.keyboard.press("Tab")
        assert figure.locator(".told").text_content() == ""


def test_hovering_says_what_is_in_a_bin_and_in_a_cell(digits, visit):
    page = visit(digits, "tiny/models/test_vit--tiny.html")
    tip = page.locator("#vg-tooltip-element.visible")
    page.locator('figure[data-chart="bins"] .mark-symbol.role-mark path').last.hover()
    tip.wait_for()
    assert "confusion" in tip.inner_text()
    page.locator('figure[data-chart="matrix"] .mark-text.role-mark text').first.hover()
    page.wait_for_function("document.querySelector('#vg-tooltip-element').textContent.includes('true')")
    assert "answers" in tip.inner_text()


def test_a_point_leads_to_its_model(board, visit):
    page = visit(board, "sample/estimators/ATC.html")
    page.locator('figure[data-chart="predicted"] .mark-symbol.role-mark path').first.click()
    page.wait_for_url("**/sample/models/net-a--plain.html")
    assert page.locator("h1").inner_text() == "net-a"


def test_a_model_is_compared_with_the_chosen_shift(digits, visit):
    page = visit(digits, "tiny/models/test_vit--tiny.html")
    options = page.locator('select[data-control="set"] option').all_inner_texts()
    assert len(options) == 6
    assert said(page, "matrix") == f"On {options[0]}."
    choose(page, "set", "6")
    assert said(page, "matrix") == f"On {options[5]}."
    assert re.search(r"pp in all, .* by mixture and .* within bins", said(page, "drop"))
    legend = page.locator('figure[data-chart="bins"] svg').text_content()
    assert legend.count(options[5]) == 1, "one legend, for colour and shape at once"


def test_dark_mode_recolours_page_and_charts(board, visit):
    page = visit(board, color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    words = "document.querySelector('figure svg .role-axis-title text').getAttribute('fill')"
    light = page.evaluate(ground), page.evaluate(words)
    settle(page, lambda: page.emulate_media(color_scheme="dark"))
    assert (page.evaluate(ground), page.evaluate(words)) == ("rgb(20, 24, 29)", "#e8ecf0")
    assert light == ("rgb(255, 255, 255)", "#1b1f24")


def test_without_scripts_the_tables_can_be_read(board, visit, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((board / "index.html").as_uri())
    assert page.locator(f"{ESTIMATORS} tbody tr").count() == 36
    assert page.get_by_text("This chart needs JavaScript").count() == 2
    context.close()


def test_hostile_names_run_nothing(hostile, visit):
    pages = sorted(path.relative_to(hostile).as_posix() for path in hostile.rglob("*.html"))
    wanted = [path for path in pages if "img-src" in path or path == "index.html"]
    assert len(wanted) == 4, "a board, a model, an estimator and a shift of that name"
    for path in wanted:
        page = visit(hostile, path)
        notes = page.locator("#table-reported tbody tr").all_inner_texts()
        assert all(text.count("window.hacked=1") == 6 for text in notes), "name, family and note, twice each"
        assert bool(notes) == (path == "index.html")
        assert page.evaluate("window.hacked") is None
        assert page.locator("img").count() == 0
        assert "<img src=x onerror=" in page.locator("main").inner_text()
        assert page.locator("script:not([src]):not([type='application/json'])").count() == 0
        points = page.locator("figure .mark-symbol.role-mark path")
        for place in range(min(points.count(), 3)):
            points.nth(place).hover(force=True)
            page.wait_for_timeout(50)
        assert page.evaluate("window.hacked") is None
        assert page.locator("#vg-tooltip-element img, #vg-tooltip-element script").count() == 0
