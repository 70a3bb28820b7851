// Charts: the page's data put into the specifications of specs.js, drawn again when a choice changes.
"use strict";
(() => {
  const root = document.documentElement.dataset.root;
  const specs = window.SHIFTCAST_SPECS;
  const suite = window.SHIFTCAST;
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const MOST_COLOURS = 7;
  const FEWEST_TICKS = 4;
  const TICKS = [0.1, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.9];

  // Acklam's rational approximation of the normal quantile: relative error below 1.2e-9.
  function probit(p) {
    const poly = (x, ...c) => c.reduce((sum, one) => sum * x + one, 0);
    const tail = (q) =>
      poly(q, -7.784894002430293e-3, -0.3223964580411365, -2.400758277161838, -2.549732539343734,
        4.374664141464968, 2.938163982698783) /
      poly(q, 7.784695709041462e-3, 0.3224671290700398, 2.445134137142996, 3.754408661907416, 1);
    if (p < 0.02425) return tail(Math.sqrt(-2 * Math.log(p)));
    if (p > 1 - 0.02425) return -tail(Math.sqrt(-2 * Math.log(1 - p)));
    const [q, r] = [p - 0.5, (p - 0.5) ** 2];
    return (
      (q * poly(r, -39.69683028665376, 220.9460984245205, -275.9285104469687, 138.357751867269,
        -30.66479806614716, 2.506628277459239)) /
      poly(r, -54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972, -13.28068155288572, 1)
    );
  }

  const to = {
    probit,
    logit: (share) => Math.log(share / (1 - share)),
    linear: (share) => share,
  };
  const clip = (share, n) => Math.min(Math.max(share, 0.5 / n), 1 - 0.5 / n);
  const percent = (share) => (100 * share).toFixed(2);
  const signed = (value) => (value > 0 ? "+" : "") + value.toFixed(2);
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const copy = (spec) => JSON.parse(JSON.stringify(spec));

  // Choices

  const chosen = (control, fallback) => {
    const select = document.querySelector(`select[data-control="${control}"]:not([data-filter])`);
    return select ? select.value : fallback;
  };

  function targets() {
    const wanted = chosen("shift", page.shift || "");
    return suite.targets
      .map((target, place) => ({ ...target, place, about: suite.shifts[target.shift] }))
      .filter(({ about }) => !wanted || wanted === `shift:${about.name}` || wanted === `kind:${about.kind}`);
  }

  const runs = () => {
    const family = chosen("family", "");
    return suite.runs.map((run, place) => ({ ...run, place })).filter((run) => !family || run.family === family);
  };

  // The estimators offered are those of the chosen track.
  function limitEstimators() {
    const select = document.querySelector('select[data-control="estimator"]');
    if (!select) return;
    const track = chosen("track", "");
    const offered = suite.estimators.filter((one) => !track || one.track === track).map((one) => one.name);
    for (const option of select.options) option.hidden = option.disabled = !offered.includes(option.value);
    if (!offered.includes(select.value)) select.value = offered.length ? offered[0] : "";
  }

  // Scatter charts

  const tip = (run, shift) => ({ model: run.model, seed: String(run.seed), family: run.family, shift });

  function coloured(points) {
    const names = new Set(points.map((point) => point.colour));
    return names.size <= MOST_COLOURS ? points : points.map((point) => ({ ...point, colour: point.kind }));
  }

  function predictedPoints(scale) {
    const name = page.estimator || chosen("estimator", page.headline);
    const estimator = suite.estimators.find((one) => one.name === name);
    const points = [];
    for (const target of estimator ? targets() : []) {
      for (const run of runs()) {
        const [actual, guess] = [target.actual[run.place], estimator.predicted[target.place][run.place]];
        if (actual === null || guess === null) continue;
        const [a, p] = [actual / suite.units, guess / suite.units];
        points.push({
          ...tip(run, target.name), estimator: name, href: run.href && root + run.href, kind: target.about.kind,
          colour: target.about.name, x: to[scale](clip(a, target.n)), y: to[scale](clip(p, target.n)),
          actual: `${percent(a)} %`, predicted: `${percent(p)} %`,
          error: `${signed(100 * (p - a))} pp`,
        });
      }
    }
    // Their mean error is no figure of the board, which weighs cells alike.
    const text = points.length
      ? `${name}: ${points.length.toLocaleString("en")} points.`
      : `${name || "No estimator of this track"}: no prediction for this choice.`;
    return { points: coloured(points), text };
  }

  function linePoints(scale) {
    const groups = new Map();
    for (const target of targets()) groups.set(target.shift, [...(groups.get(target.shift) || []), target]);
    const points = [];
    for (const [place, members] of groups) {
      const n = Math.min(...members.map((target) => target.n));
      for (const run of runs()) {
        const values = members.map((target) => target.actual[run.place]);
        const home = suite.id[run.place];
        if (home === null || values.includes(null)) continue;
        const [a, b] = [home / suite.units, mean(values) / suite.units];
        points.push({
          ...tip(run, suite.shifts[place].name), href: run.href && root + run.href, kind: suite.shifts[place].kind, plain: run.plain,
          colour: suite.shifts[place].name, x: to[scale](clip(a, suite.idImages)), y: to[scale](clip(b, n)),
          shares: [a, b], "in distribution": `${percent(a)} %`, "under shift": `${percent(b)} %`,
        });
      }
    }
    const count = `${points.length.toLocaleString("en")} point${points.length === 1 ? "" : "s"}`;
    const line = groups.size === 1 ? fit(points.filter((point) => point.plain)) : null;
    if (groups.size > 1) return { points: coloured(points), line, text: `${count}. Choose one shift for its line.` };
    const said = line ? `slope ${line.slope.toFixed(2)}, R² ${line.r2.toFixed(2)}` : "no line";
    return { points: coloured(points), line, text: `${count}, ${said} (${scale} axes).` };
  }

  function fit(points) {
    if (points.length < 3) return null;
    const [mx, my] = [mean(points.map((p) => p.x)), mean(points.map((p) => p.y))];
    const sums = points.reduce(
      ([xx, xy, yy], p) => [xx + (p.x - mx) ** 2, xy + (p.x - mx) * (p.y - my), yy + (p.y - my) ** 2], [0, 0, 0],
    );
    if (!(sums[0] > 1e-12)) return null;
    const slope = sums[1] / sums[0];
    return { slope, intercept: my - slope * mx, r2: sums[2] > 1e-12 ? sums[1] ** 2 / (sums[0] * sums[2]) : 0 };
  }

  // Round percentages between two places on an axis: wide steps, or the first finer ones that give four.
  function ticks(scale, [low, high]) {
    let found = [];
    for (const step of [0, 5, 2, 1, 0.5, 0.2]) {
      const count = step ? Math.round(100 / step) - 1 : 0;
      const percents = step ? Array.from({ length: count }, (_, k) => (k + 1) * step) : TICKS;
      found = percents.map((tick) => to[scale](tick / 100)).filter((at) => at >= low && at <= high);
      if (found.length >= FEWEST_TICKS) break;
    }
    return found;
  }

  function axis(spec, channel, values, scale) {
    const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [to[scale](0.2), to[scale](0.9)];
    const air = Math.max(0.05 * (high - low), 0.01);
    const domain = [low - air, high + air];
    const inside = ticks(scale, domain);
    Object.assign(spec.encoding[channel].scale, { domain });
    Object.assign(spec.encoding[channel].axis, {
      values: inside, labelExpr: `format(100*(${specs.back[scale]}),'.1~f')`, labelOverlap: true,
    });
    return domain;
  }

  function scatter(kind, read) {
    const scale = chosen("scale", "probit");
    const spec = copy(specs[kind]);
    const { points, line, text } = read(scale);
    let xs = points.map((point) => point.x);
    let ys = points.map((point) => point.y);
    if (kind === "predicted") xs = ys = [...xs, ...ys]; // one square, so that the diagonal is one
    const x = axis(spec, "x", xs, scale);
    axis(spec, "y", ys, scale);
    for (const channel of ["x", "y"]) spec.encoding[channel].axis.title += scale === "linear" ? "" : `, ${scale} axis`;
    const ends = (at) => x.map((value, place) => ({ x: value, y: at(value), place }));
    spec.datasets = { points, equal: ends((value) => value) };
    if (kind === "lines") spec.datasets.line = line ? ends((value) => line.slope * value + line.intercept) : [];
    return { spec, text };
  }

  // Charts of one model, estimator or shift

  const pair = () => [page.sets[0], page.sets[Number(chosen("set", "1"))]].filter(Boolean);
  const range = (place, bins) => `${(place / bins).toFixed(2)} to ${((place + 1) / bins).toFixed(2)}`;

  function perSet(kind, read) {
    const spec = copy(specs[kind]);
    const shown = pair().filter((one, place, all) => all.indexOf(one) === place);
    spec.datasets = { points: shown.flatMap(read) };
    return { spec, text: "" };
  }

  const bins = ({ name, bins: counts }) =>
    (counts || []).flatMap(([right, n], place) =>
      n === 0 ? [] : [{
        set: name, middle: (place + 0.5) / counts.length, accuracy: (100 * right) / n,
        confusion: range(place, counts.length), right: right.toLocaleString("en"), answers: n.toLocaleString("en"),
        "accuracy %": percent(right / n),
      }],
    );

  const reliability = ({ name, reliability: counts }) =>
    (counts || []).flatMap(([n, sure, right]) =>
      n === 0 ? [] : [{
        set: name, confidence: 100 * sure, accuracy: (100 * right) / n, "confidence %": percent(sure),
        "accuracy %": percent(right / n), answers: n.toLocaleString("en"),
      }],
    );

  const histogram = ({ name, shares }) =>
    shares.map((share, place) => ({
      set: name, middle: (place + 0.5) / shares.length, share: 100 * share, confusion: range(place, shares.length),
      "images %": percent(share),
    }));

  function matrix() {
    const spec = copy(specs.matrix);
    spec.params[0].value = page.classes.length; // numbers are drawn where every cell has room
    const one = pair().at(-1);
    const points = (one.matrix || []).flatMap((row, true_) => {
      const total = row.reduce((sum, value) => sum + value, 0);
      return row.map((value, predicted) => ({
        true: page.classes[true_], predicted: page.classes[predicted], answers: value.toLocaleString("en"),
        share: total ? (100 * value) / total : 0, "share %": total ? percent(value / total) : "–",
      }));
    });
    spec.datasets = { points };
    return { spec, text: `On ${one.name}.` };
  }

  function drop() {
    const spec = copy(specs.drop);
    const one = pair().at(-1);
    const points = (one.drop || []).flatMap((parts, place) =>
      ["mixture", "within"].map((part, which) => ({
        bin: range(place, one.drop.length), part, lost: parts[which], pp: signed(parts[which]),
      })),
    );
    spec.datasets = { points };
    const total = (which) => (one.drop || []).reduce((sum, parts) => sum + parts[which], 0);
    const text = one.drop
      ? `${one.name}: ${signed(total(0) + total(1))} pp in all, ${signed(total(0))} by mixture and ` +
        `${signed(total(1))} within bins.`
      : `${one.name}: no drop to take apart.`;
    return { spec, text };
  }

  const known = () => {
    const wanted = chosen("shift", "");
    return page.shifts.filter((one) => !wanted || wanted === `kind:${one.kind}` || wanted === `shift:${one.shift}`);
  };

  const heightOf = (shifts) => 90 + 20 * shifts; // axis and legend, then a line each

  function errors() {
    const spec = { ...copy(specs.errors), height: heightOf(known().length) };
    const points = known().filter((one) => one.mae !== null).sort((a, b) => b.mae - a.mae);
    spec.datasets = {
      points: points.map((one) => ({
        shift: one.shift, kind: one.kind, mae: one.mae, MAE: `${one.mae.toFixed(2)} pp`,
        bias: `${signed(one.bias)} pp`, "sampling noise": one.floor === null ? "–" : `${one.floor.toFixed(2)} pp`,
      })),
    };
    return { spec, text: "" };
  }

  function coverage() {
    const spec = { ...copy(specs.coverage), height: heightOf(known().length) };
    const points = known().flatMap((one) => [
      { interval: "sampling", share: one.coverage, width: one.width, level: one.nominal },
      { interval: "conformal", share: one.conformalCoverage, width: one.conformalWidth, level: one.conformalNominal },
    ].filter((own) => own.share !== null).map((own) => ({
      shift: one.shift, interval: own.interval, share: 100 * own.share, coverage: `${percent(own.share)} %`,
      level: `${own.level} %`, "mean width": own.width === null ? "–" : `${own.width.toFixed(2)} pp`,
    })));
    const levels = [...new Set(points.flatMap((point) => point.level.replace(" %", "").split("/")))];
    spec.datasets = { points, levels: levels.filter(Boolean).map((level) => ({ level: Number(level) })) };
    return { spec, text: points.length ? "" : "No interval is stated on these shifts." };
  }

  const charts = {
    predicted: () => scatter("predicted", predictedPoints),
    lines: () => scatter("lines", linePoints),
    bins: () => perSet("bins", bins),
    reliability: () => perSet("reliability", reliability),
    histogram: () => perSet("histogram", histogram),
    matrix, drop, errors, coverage,
  };

  // Drawing

  function theme() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const category = Array.from({ length: MOST_COLOURS }, (_, k) => colour(`c${k + 1}`));
    const words = { labelColor: colour("text"), titleColor: colour("text"), labelFontSize: 12, titleFontSize: 12 };
    const line = { color: colour("rule"), strokeWidth: 1.2 };
    return {
      font: "system-ui, sans-serif",
      view: { stroke: null },
      axis: {
        ...words, titleFontWeight: "normal", gridColor: colour("grid"), domainColor: colour("axis"),
        tickColor: colour("axis"),
      },
      legend: { ...words, orient: "bottom", columns: 2, labelLimit: 170, symbolOpacity: 1 },
      range: { category, heatmap: [colour("heat-low"), colour("heat-high")] },
      text: { color: colour("text") },
      style: {
        equal: { ...line, strokeDash: [5, 4] },
        fit: { ...line, color: colour("text"), strokeWidth: 1.6 },
        level: { ...line, strokeDash: [2, 3] },
        zero: line,
      },
    };
  }

  async function draw(figure) {
    const plot = figure.querySelector(".plot");
    const { spec, text } = charts[figure.dataset.chart]();
    const config = theme();
    figure.querySelector(".said").textContent = text;
    const options = { actions: false, renderer: "svg", config, tooltip: { theme: "custom" } };
    try {
      if (figure.view) figure.view.finalize();
      const { view } = await vegaEmbed(plot, spec, options);
      figure.view = view;
      figure.place = -1;
      figure.dataset.drawn = String(Number(figure.dataset.drawn || 0) + 1);
    } catch (error) {
      plot.textContent = "This chart could not be drawn.";
      console.error(error);
    }
  }

  // By keyboard: arrows go from mark to mark, from left to right, and tell what hovering would.

  const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

  function marks(figure) {
    const found = [...figure.querySelectorAll(".plot .role-mark path, .plot .role-mark text")];
    const placed = found.filter((mark) => mark.__data__ && mark.__data__.tooltip).map((mark) => {
      const box = mark.getBoundingClientRect();
      return { mark, x: box.x + box.width / 2, y: box.y + box.height / 2 };
    });
    return placed.sort((a, b) => Math.round(a.x - b.x) || a.y - b.y);
  }

  function tell(figure, at) {
    for (const mark of figure.querySelectorAll(".here")) mark.classList.remove("here");
    const item = at ? at.mark.__data__ : null;
    if (figure.view) figure.view.tooltip()(null, { clientX: at ? at.x : 0, clientY: at ? at.y : 0 }, item, item && item.tooltip);
    if (at) at.mark.classList.add("here");
    const words = item ? Object.entries(item.tooltip).map(([name, value]) => `${name}: ${value}`).join(", ") : "";
    figure.querySelector(".told").textContent = words;
  }

  function step(figure, event) {
    const all = marks(figure);
    const ends = { Home: 0, End: all.length - 1 };
    if (event.key === "Escape") figure.place = -1;
    else if (event.key === "Enter" && all[figure.place]) {
      const { href } = all[figure.place].mark.__data__;
      if (href) window.location.href = href;
      return;
    } else if (event.key in ends) figure.place = ends[event.key];
    else if (event.key in STEPS) figure.place = Math.min(Math.max(figure.place + STEPS[event.key], 0), all.length - 1);
    else return;
    event.preventDefault();
    tell(figure, all[figure.place]);
  }

  // One drawing of a figure at a time; a choice made meanwhile is drawn afterwards.
  function redraw(figure) {
    figure.queue = (figure.queue || Promise.resolve()).then(() => draw(figure));
  }

  const figures = [...document.querySelectorAll("figure[data-chart]")];
  for (const figure of figures) {
    const plot = figure.querySelector(".plot");
    plot.addEventListener("keydown", (event) => step(figure, event));
    plot.addEventListener("blur", () => tell(figure, null));
  }
  const all = () => {
    limitEstimators();
    figures.forEach(redraw);
  };
  for (const choice of document.querySelectorAll("select[data-control]:not([data-filter])")) {
    choice.addEventListener("change", all);
  }
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  all();
})();
