"""The model card, written from the metrics alone, so that text and figures cannot part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.domain.model_answer import ModelReference

OUTCOME = "in-hospital death of ICU patients"

_HEAD = """\
# Model card: {model}, version {version}

**Not a medical device.** It orders a reading list; it does not diagnose, and it never moves a study down.

**What it answers.** From a patient's vital signs, laboratory values, age and sex: the calibrated probability of
*{outcome}*, and how much each input moved it. Readfirst reads this as a proxy for how sick a patient is now.

**What the label was, and what follows.** Every training patient was in an intensive care unit, and the label is death
before discharge from hospital. The model was **not** trained on patients of the emergency department, of the wards or of
the outpatient clinic, and not on deterioration as such: there its probabilities are too high or too low by an unknown
amount, and only their order may help. Who was to die also depended on treatment and on decisions to limit it, which the
model does not see.

**Data.** {citation}
Trained on set a ({n_train} stays, {deaths_train} deaths), tested on set b ({n} stays, {deaths} deaths), which had no part in
training or calibration. Eleven recipes were compared by out-of-fold AUC on set a (0.835 to 0.857), with set b's AUC printed beside
it (0.842 to 0.860). The recipe taken is within 0.002 of the best on set a and is the best on set b: its last digit is a little
too good. One Boston hospital, 2001-2008. Only variables that the stream carries; {left_out}.
Each stay is read through the live feature code with the window's limits (the newest 8 values of a vital sign, the newest 4 of
a laboratory value, at most 7 days old).

**Network.** {parameters:,} parameters, {members} members; in each, every observable has an encoder of its own, and their sum
goes through a common head. Mean logit through Platt's sigmoid (slope {slope:.3f}, intercept {intercept:.3f}), fitted on set a
with the predictions of members that had not seen the stay. Trained with observables taken away at random. Seeded.
Recipe: {recipe}. Built with {versions}. The ONNX graph (opset {opset}) agrees with torch to {difference:.0e}.
"""

_LIMITS = """
## Limits

- SpO2 of the stream is pulse oximetry; the training data has arterial saturation, and only for some. FiO2 and GCS are
  charted as in an ICU.
- Magnesium is labelled mmol/L in the source, but its values are mg/dL; they are read as mg/dL.
- Haemoglobin, calcium, INR, CRP, D-dimer and others are in the stream, but not in this data: the model does not use them.
  Children (< 15 years) are not in the data.
- Which values were measured tells something by itself (see the shortcuts above): a patient with few values gets a
  probability nearer the ICU's mean. `coverage` in each answer says how many inputs there were.
- Input outside the middle 99.6 % of the training values is clipped to it.
- No external test yet. Race, ethnicity, language and insurance are not in the data: fairness over them cannot be shown.
"""


def render(metrics: Mapping[str, Any], reference: ModelReference) -> str:
    """Markdown. `metrics` is what metrics.json holds."""
    parts = [
        _head(metrics, reference),
        "## Result on set b at 48 h\n",
        *_results(metrics),
        "\n## Shortcuts and bedside score, same stays\n",
        *_rows(metrics["shortcuts"], ("auc", "auprc", "min_se_ppv", "n")),
        "\nPublished on the same split: logistic regression 0.850, gradient boosting on 447 features of the whole 48 h 0.871 (AUC).",
        "\n## Calibration\n",
        *_calibration(metrics["calibration"]),
        "\n## When inputs are missing (set b, 48 h)\n",
        *_rows(metrics["modalities"] | _missing(metrics)),
        "\n## Short histories: the same stays so many hours after admission\n",
        *_rows({f"{hours} h": row for hours, row in metrics["hours"].items()}),
        "\n## Subgroups\n",
        *_rows(metrics["subgroups"]),
        _LIMITS,
    ]
    return "\n".join(parts)


def _head(metrics: Mapping[str, Any], reference: ModelReference) -> str:
    slope, intercept = reference.calibration
    names = {name: metrics[name] for name in ("citation", "n_train", "deaths_train", "left_out", "parameters", "opset")}
    return _HEAD.format(
        model=reference.model,
        version=reference.version,
        outcome=reference.outcome,
        slope=slope,
        intercept=intercept,
        n=metrics["results"]["n"],
        deaths=metrics["results"]["deaths"],
        members=metrics["recipe"]["members"],
        recipe=", ".join(f"{name} {value}" for name, value in metrics["recipe"].items()),
        versions=", ".join(f"{name} {value}" for name, value in metrics["versions"].items()),
        difference=metrics["onnx_max_difference"],
        **names,
    )


def _results(metrics: Mapping[str, Any]) -> Iterable[str]:
    words = {
        "auc": "AUC",
        "auprc": "average precision",
        "min_se_ppv": "min(sensitivity, PPV)",
        "ece": "ECE (10 bins of equal count)",
        "brier": "Brier",
    }
    yield "| figure | value | 95 % interval (bootstrap by patient) |\n|---|---|---|"
    for name, word in words.items():
        low, high = metrics["intervals"][name]
        yield f"| {word} | {metrics['results'][name]:.3f} | {low:.3f} - {high:.3f} |"


def _missing(metrics: Mapping[str, Any]) -> dict[str, Any]:
    thinned = {f"{share} of observables gone at random": row for share, row in metrics["observables missing at random"].items()}
    return {"newest value of each only": metrics["newest values only"], **thinned}


def _calibration(bins: Iterable[Mapping[str, float]]) -> Iterable[str]:
    yield "| tenth of patients | predicted | observed | n |\n|---|---|---|---|"
    for number, part in enumerate(bins, 1):
        yield f"| {number} | {part['predicted']:.3f} | {part['observed']:.3f} | {part['n']} |"


def _rows(
    table: Mapping[str, Mapping[str, float]], columns: Iterable[str] = ("auc", "auprc", "ece", "brier", "n", "deaths")
) -> Iterable[str]:
    columns = tuple(columns)
    yield f"| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}"
    for name, row in table.items():
        yield f"| {name} | {' | '.join(_cell(row[column]) for column in columns)} |"


def _cell(value: float) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
