"""The leaderboard's fixed words: what the page is, and what its columns mean."""

from __future__ import annotations

from shiftcast.leaderboard.board import BASELINES

MARK = "†"
"""Stands by an estimator that was chosen on data of the table."""

HEAD = """# Leaderboard

How accurate is an image classifier on images that nobody has labelled? Each estimator predicts it from
labels of in-distribution images alone; here its predictions stand beside what really happened. Errors are
in percentage points (pp). Natural and synthetic shifts are never averaged together, and nothing is
averaged over missing cells. The columns are explained [at the end](#how-to-read-the-tables)."""
CONTENTS = "Suites on this page:"

LEGEND = f"""## How to read the tables

- **cell**: architecture x recipe on one shift (a natural set, or a corruption with all its severities). A
  figure is averaged over a cell's complete runs (seeds), then its severities, then over the cells of a shift,
  and last over shifts with equal weight.
- **track**: what an estimator needs. T1: the model's own logits; T2: also a reference ensemble; T3: also
  other models' predictions; T4: features or source images; T5: labels of other shifts. Tracks are ranked
  apart (**#**); figures that print alike share a rank.
- **ranks**: the places within the track that the noise of images and architectures leaves open; [95 %]
  behind a MAE: its interval from the same draws, wider than what tells two estimators apart, since these err
  together.
- **MAE, bias, RMSE**: mean absolute, signed and root mean squared error, predicted minus actual accuracy.
  Positive bias is optimism. **worst**: the largest MAE of any cell.
- **skill**: 1 - MAE / MAE of the better baseline ({" or ".join(BASELINES)}) on the same rows. 1 is perfect,
  0 no better than that baseline, below 0 worse.
- **τ**: Kendall's rank correlation of predicted with actual accuracy across runs; **τ of ID**: that of plain
  in-distribution accuracy.
- **sampling coverage**: how often the stated sampling interval holds the actual accuracy, with the level it
  promises; **width**: the interval's mean width in pp. Sampling intervals leave out what an estimator gets
  wrong under shift.
- **conformal coverage**: the same for the interval that adds what the estimator got wrong elsewhere: the
  largest of its errors on other shifts of the same kind, by other architectures, up to the level
  (group-weighted split conformal on the probit scale). G other shifts support levels up to G/(G + 1), so 80 %
  needs 4, 90 % needs 9, 95 % needs 19; where fewer are known, no level is stated. It holds for a shift that
  is drawn like the others. Errors on corruptions promise nothing about natural shifts and are not used there.
- **sampling noise**: the MAE of an estimator that knows each true accuracy, because the m images of a set
  are a sample: mean of sqrt(2/pi) sqrt(a(1 - a)/m) for actual accuracy a, in pp. Where several images show
  one object, m is the number of independent images that would be as uncertain.
- **abstains**: share of rows on which the estimator declines; they are in no other figure. **cells**:
  complete cells of all cells; an estimator that lacks one is not ranked.
- **MAE shared**: MAE where fit and prediction share the source images, as often published. It flatters;
  for comparison only.
- **{MARK}**: the estimator, or a default of it, was chosen on data of the table.
- **[low, high]** behind an accuracy: Wilson 95 % interval for its images (or objects, as above) at the
  mean over seeds. **seed sd**: standard deviation over seeds, in pp.
- **predicted (error)**: the headline estimator's prediction, and how far it lies from the actual accuracy.
- **effective robustness**: actual accuracy minus what a line through all other architectures' runs of plain
  recipes (probit axes) gives for the model's in-distribution accuracy, in pp; blank below four architectures
  with such runs. A recipe is plain if it does nothing to images, labels and loss but crops, flips and cutout,
  and is no variant of another recipe. Only such runs are the peers whose agreement ALine measures (all are,
  where none is plain)."""
