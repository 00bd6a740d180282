"""The model card, written from the metrics alone, so that text and figures cannot part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.domain.catalogue import KEEP
from pipeline.domain.history import BLOCK, BLOCKS_KEEP
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
training or calibration. One Boston hospital, 2001-2008. Only variables that the stream carries; {left_out}.
Each stay is read through the live feature code with the window's limits: of each observable the newest {keep} values, and of what
came before them a tally for each half day (how many, mean, least, greatest), at most {days:.0f} days back.

**How it was chosen.** By cross-validation inside set a alone: which statistics the window should carry (15 compared: AUC 0.858 for
the newest 8 and 4 values alone, 0.859 to 0.860 with more of single vital signs kept, 0.864 with tallies, 0.867 for features of the whole
series), the trees' training rows (0.859 from 48 h alone, 0.863 with earlier moments), the network's regularisation (six, 0.852 to
0.854), and a logistic regression as a third member (no gain). Set b was looked at eleven times by version 1 of this model, for other
recipes and features; by this version once to write this card, and once before by the small configuration, while the command was made.
By cross-validation the network adds nothing to the trees in AUC; it is kept because its members know when they disagree.

**Model.** Network: {parameters:,} parameters, {members} members; in each, every observable has an encoder of its own, and the set of
them is summed before a common head. Trees: {trees:,} trees by LightGBM in {boosters} boosters. Each member and booster was kept from a
fifth of the stays. Mean logits of both are joined by a logistic regression fitted on predictions for stays that neither had seen, its
slopes and intercept depending on {conditions}. Trained with observables taken away at random. Seeded.
Recipe: {recipe}. Built with {versions}. The ONNX graph (opset {opset}) agrees with torch and LightGBM to {difference:.0e}.

**What it says besides.** `contributions`: the risk minus the risk without that input, for each input. What a single reading did is worked
out when somebody asks (the page, `readfirst explain --readings`), with the features made again without it: what the input's other readings
say stays, so these need not add up to its contribution, which an only reading equals. That an input is known at all counts too, so even a
bad value may lower the risk: nobody on a ventilator has a respiratory rate in these data (5,040 of the 8,000 stays; 16 % died, 8 % of those
with a rate), and any rate stands for a patient who breathes alone. `spread`, its uncertainty:
half the width of the probability between one standard deviation of the members either way. `novelty`: how far the input furthest out lies
beyond the middle 99.6 % of training, in widths of it (above 0 for {beyond:.1%} of set b).
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
- The network clips input outside the middle 99.6 % of the training values to it; trees end there too. `novelty` says so.
- eICU as it is here gives the worst values of the first day, not a stream; its probabilities are those of another question, and only
  the order counts. Race, ethnicity, language and insurance are not in the data: fairness over them cannot be shown.
"""


def render(metrics: Mapping[str, Any], reference: ModelReference) -> str:
    """Markdown. `metrics` is what metrics.json holds."""
    ranked = ("auc", "auprc", "min_se_ppv", "n")
    parts = [
        _head(metrics, reference),
        "## Result on set b at 48 h\n",
        *_results(metrics),
        f"\nTargets: AUC 0.880, min(Se, PPV) 0.55, ECE 0.02; {_targets(metrics['results'])}",
        "\n## Rivals on set b, same stays\n",
        *rows(metrics["rivals_on_b"] | {"LightGBM on the whole series (no stream carries it)": metrics["whole_series_on_b"]}, ranked),
        "\nPublished on the same split: logistic regression 0.850, LightGBM on 447 features of the whole 48 h 0.871 (min(Se, PPV) 0.535).",
        "\n## Rivals by cross-validation inside set a\n",
        *rows(metrics["rivals_on_a"], ranked),
        *_event_set(metrics.get("event_set")),
        "\n## Shortcuts and bedside score, set b\n",
        *rows(metrics["shortcuts"], ranked),
        *_tables(metrics),
        *_external(metrics.get("eicu")),
        _LIMITS,
    ]
    return "\n".join(parts)


def tables(metrics: Mapping[str, Any]) -> str:
    """Markdown of what `evaluation.report` found, for any data set."""
    return "\n".join(["## Result\n", *_results(metrics), *_tables(metrics), ""])


def _tables(metrics: Mapping[str, Any]) -> Iterable[str]:
    return [
        f"\n## Calibration\n\nSlope {metrics['calibration_slope']}, intercept {metrics['calibration_intercept']}.\n",
        *_calibration(metrics["calibration"]),
        "\n## Working points\n",
        *_points(metrics["working_points"]),
        "\n## Net benefit\n",
        *_benefit(metrics["decision_curve"]),
        "\n## When inputs are missing\n",
        *rows(metrics["modalities"] | _missing(metrics)),
        "\n## Short histories: the same stays so many hours after admission\n",
        *rows({f"{hours} h": row for hours, row in metrics["hours"].items()}),
        "\n## Subgroups\n",
        *rows(metrics["subgroups"]),
        "\n## Where the members disagree\n",
        *rows(metrics["by spread"]),
    ]


def _head(metrics: Mapping[str, Any], reference: ModelReference) -> str:
    names = {name: metrics[name] for name in ("citation", "n_train", "deaths_train", "left_out", "parameters", "opset", "trees")}
    recipe = metrics["recipe"]
    return _HEAD.format(
        model=reference.model,
        version=reference.version,
        outcome=reference.outcome,
        keep=KEEP,
        days=(BLOCKS_KEEP - 1) * BLOCK.total_seconds() / 86400,
        conditions="whether there is any laboratory value, any vital sign, and on the share of inputs absent",
        n=metrics["results"]["n"],
        deaths=metrics["results"]["positives"],
        members=recipe["members"],
        boosters=recipe["tree_seeds"] * recipe["folds"],
        recipe=", ".join(f"{name} {value}" for name, value in recipe.items()),
        versions=", ".join(f"{name} {value}" for name, value in metrics["versions"].items()),
        difference=metrics["onnx_max_difference"],
        beyond=metrics["beyond training's range"],
        **names,
    )


def _targets(results: Mapping[str, float]) -> str:
    """Which are met."""
    met = {"AUC": results["auc"] >= 0.88, "min(Se, PPV)": results["min_se_ppv"] >= 0.55, "ECE": results["ece"] <= 0.02}
    return ", ".join(f"{name} {'met' if reached else 'missed'}" for name, reached in met.items()) + "."


def _points(points: Iterable[Mapping[str, float]]) -> Iterable[str]:
    columns = ("threshold", "sensitivity", "specificity", "ppv", "prevalence", "flagged")
    yield f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    for point in points:
        yield f"| {' | '.join(_cell(point[column]) for column in columns)} |"


def _benefit(points: Iterable[Mapping[str, float]]) -> Iterable[str]:
    yield "| threshold | model | everybody |\n|---|---|---|"
    for point in points:
        yield f"| {point['threshold']} | {point['model']:.4f} | {point['all']:.4f} |"


def _event_set(found: Mapping[str, Any] | None) -> Iterable[str]:
    """The rival of `readfirst train multimodal`, where it was compared with these weights."""
    if found is None:
        return
    yield "\n## Attention over a set of events\n"
    yield (
        "The window's readings and tallies as a set, each a token of code, value and age, in place of statistics of each observable; the\n"
        "card of that network stands in pipeline/models/multimodal. Plain means of logits, by cross-validation inside set a and on set b;\n"
        "the difference is that of the AUC to the shipped ensemble, with its interval by patient. Set b was looked at once more for it,\n"
        "when all was chosen, and at 240 of its stays before by the small configuration, while the command was made.\n"
    )
    yield "| | set a: auc | minus shipped, 95 % | set b: auc | auprc | min_se_ppv | minus shipped, 95 % |\n|---|---|---|---|---|---|---|"
    for name, inside in found["set a"].items():
        outside = found["set b"][name]
        cells = [_cell(outside[column]) for column in ("auc", "auprc", "min_se_ppv")]
        yield f"| {name} | {inside['auc']:.3f} | {_signed(inside)} | {' | '.join(cells)} | {_signed(outside)} |"


def _signed(row: Mapping[str, Any]) -> str:
    low, high = row["minus_shipped_95"]
    return f"{low:+.3f} to {high:+.3f}"


def _external(found: Mapping[str, Any] | None) -> Iterable[str]:
    """The test on eICU, where it was made."""
    if found is None:
        return
    low, high = found["intervals"]["auc"]
    yield f"\n## External test: eICU demo, never trained on\n\n{found['citation']}\n"
    yield f"AUC {found['results']['auc']:.3f} ({low:.3f} - {high:.3f}, bootstrap by hospital, {found['hospitals']} hospitals), target 0.80."
    yield f"Calibration slope {found['calibration_slope']}, intercept {found['calibration_intercept']}: no probabilities there."
    yield "Published with training on it, hospitals held out: 0.808 - 0.827.\n"
    yield from rows({"all": found["results"], **found["subgroups"]})


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


def rows(
    table: Mapping[str, Mapping[str, float]], columns: Iterable[str] = ("auc", "auprc", "ece", "brier", "n", "positives")
) -> Iterable[str]:
    columns = tuple(columns)
    """A table with one row a name."""
    yield f"| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}"
    for name, row in table.items():
        yield f"| {name} | {' | '.join(_cell(row[column]) for column in columns)} |"


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
