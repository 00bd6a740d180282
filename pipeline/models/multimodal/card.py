"""The card of the one network, written from its metrics alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from pipeline.models.multimodal.recipe import CHOSEN, Recipe
from pipeline.models.multimodal.rows import DEATH, OUTPUTS

ALONE, REPLACES, JOINS = "attention over a set of events", "event set instead of the set network", "event set as a third part"
_MOST_ECE = 0.03

_CARD = """\
# Attention over a set of events: a rival, not shipped

**Not a medical device, and served nowhere.** One network that reads a patient as a set: of each observation its code, value and age; of
a film one token a level of the encoder; age and sex. It stands here beside what ships, on the same rows. {verdict}

**How.** A reading, or a half day's tally of readings, is a token: what was observed, its value (of a tally: mean, least, greatest, how
many) and its age, each straight between knots of its own code. A film is four tokens, of the mean and deviation of the channels of four
levels of the frozen encoder (picture and mirror image averaged), whitened. Learned questions attend over all tokens that are there and
one that is always there; what they hear goes through one common layer to a head for each output. {parameters:,} numbers a network,
{members} networks, each without one fold of every data set; mean logits; slope and intercept for every choice of inputs, from logits of
rows that the networks had not seen. In training, modalities and single observables are hidden at random. The graph ({megabytes:.1f} MB,
opset {opset}) agrees with torch to {difference:.0e}. Recipe: {recipe}. Built with {versions}.

**Outputs and labels, never pooled.** `death-in-hospital`: PhysioNet 2012, set a ({stays[train]} stays, {stays[deaths]} deaths; {events}
events a stay at 48 h). `pneumonia` against no finding: NIH ({nih[train]} films). `intensive-care-7d`: Hannover ({hannover[films]} films
of {hannover[patients]} patients). A row has the label of its own data set and of no other; the others' loss is masked.

**Text.** None of the three data sets has a single report, order or note (NIH's table has labels, not the words they came from). Words and
the emergencies that they suspect are events like any other, and the graph takes them, but a code that no training row had is not heard:
of text this network knows nothing, and says so by not changing.

**How it was chosen.** {chosen}
The test sets, set b of PhysioNet and the fifth of NIH's patients that is held out, were looked at once for the card that is kept with the
project, and at a small part of them before by the small configuration, while the command was made; whoever runs the command looks again.
(Set b was looked at before for the clinical model, and NIH's for the image head: their cards count.) Hannover has no test set.

## In-hospital death at 48 h

Plain means of logits; the difference to the shipped model's two parts, with its interval by patient.

By cross-validation in set a:

{death_cv}

On set b:

{death_test}

## Pneumonia against no finding (NIH)

By cross-validation in the training patients:

{pneumonia_cv}

On the patients held out:

{pneumonia_test}

## Every choice of inputs

Out of fold, calibrated by the other folds (with Hannover's few patients a slope and intercept for each fold cost AUC; the table on
sharing has it without). Beside it, for death, the shipped parts asked for the same inputs, and for intensive care the late fusion of
the same inputs. `held out`: set b and NIH's patients held out.

{subsets}

{subsets_verdict}

{calibration_verdict} Of Hannover's 243 films an ECE of ten bins is about 0.06 by chance alone.

## Does sharing help?

One network on all three outputs against networks of the same seeds on one output alone; one network a fold.

| output | shared: AUC | alone: AUC | shared minus alone, 95 % |
|---|---|---|---|
{sharing}

{sharing_verdict}

## Shortcuts

The baselines of the shipped cards hold here too: which values are missing tells death with AUC {missing:.2f} on set b; projection alone
tells Hannover's intensive care with {projection:.2f} and NIH's pneumonia with {projection_nih:.2f}. Age and sex alone stand in the
table above. A code that is absent is itself a message to this network: its questions then hear the token that is always there.

## Limits

- The films of two hospitals share the encoder's tokens with no vital sign, and the stays of a third have no film: no row has all inputs,
  so that what the network says of a patient with all of them is untested.
- Hannover's 71 patients cannot show a difference of a few hundredths.
- Laboratory values of Hannover are a day's, those of PhysioNet are of the hour.
- Limits of the data are those that the clinical card and the image head's card name.
"""


def render(metrics: Mapping[str, Any]) -> str:
    """Markdown. `metrics` is what metrics.json holds."""
    recipe, data = metrics["recipe"], metrics["data"]
    return _CARD.format(
        verdict=verdict(metrics["death_cross_validation"]),
        chosen=_chosen(recipe),
        members=recipe["members"],
        megabytes=metrics["bytes"] / 1e6,
        difference=metrics["onnx_max_difference"],
        recipe=", ".join(f"{name} {value}" for name, value in (recipe | recipe["shape"]).items() if value is not None and name != "shape"),
        versions=", ".join(f"{name} {number}" for name, number in metrics["versions"].items()),
        events=data["events_of_a_stay"],
        death_cv=ranking(metrics["death_cross_validation"]),
        death_test=ranking(metrics["death_set_b"]),
        pneumonia_cv=_readers(metrics["pneumonia_cross_validation"]),
        pneumonia_test=_readers(metrics["pneumonia_held_out"]),
        subsets=_subsets(metrics["by_subset"]),
        subsets_verdict=_ahead(metrics["by_subset"]),
        calibration_verdict=_calibration(metrics["by_subset"][OUTPUTS[DEATH]]),
        sharing=_rows(
            (name, one["shared"], one["alone"], _signed(one["shared_minus_alone_95"])) for name, one in metrics["sharing"].items()
        ),
        sharing_verdict=_sharing(metrics["sharing"]),
        **metrics["shortcuts"],
        **{name: metrics[name] for name in ("parameters", "opset")},
        **{name: data[name] for name in ("stays", "nih", "hannover")},
    )


def _chosen(recipe: Mapping[str, Any]) -> str:
    """The history of the recipe that stands in the code, told only of what was trained by it; seed and processes are no choice."""
    ours, free = asdict(Recipe()), {"seed": recipe["seed"], "processes": recipe["processes"]}
    if ours | free == dict(recipe):
        return CHOSEN
    return "Its settings are not those that the project chose: by whom, and by what, this card does not know."


def verdict(found: Mapping[str, Any]) -> str:
    """Of death, by cross-validation: what changes for what ships."""
    better = [name for name in (ALONE, REPLACES, JOINS) if found[name]["minus_shipped_95"][0] > 0]
    if better:
        return f"By cross-validation in set a better than what ships beyond its interval: {', '.join(better)}."
    return (
        "By cross-validation in set a neither it nor an ensemble with it is better than what ships beyond its interval: what ships stays."
    )


def ranking(found: Mapping[str, Any]) -> str:
    """A table of readers of death."""
    head = "| | AUC | average precision | min(Se, PPV) | AUC minus shipped, 95 % |\n|---|---|---|---|---|\n"
    return head + _rows(
        (name, f"{one['auc']:.3f}", f"{one['auprc']:.3f}", f"{one['min_se_ppv']:.3f}", _signed(one["minus_shipped_95"]))
        for name, one in found.items()
    )


def _readers(found: Mapping[str, Any]) -> str:
    head = "| | AUC | minus shipped, 95 % |\n|---|---|---|\n"
    return head + _rows((name, f"{one['auc']:.3f}", _signed(one["minus_shipped_95"])) for name, one in found.items())


def _subsets(found: Mapping[str, Any]) -> str:
    head = "| output | inputs | AUC | 95 % | ECE | beside it: AUC | ECE | difference, 95 % | held out: AUC | ECE |\n"
    head += "|" + "---|" * 10 + "\n"
    return head + _rows(_subset(output, name, one) for output in OUTPUTS for name, one in found[output].items())


def _subset(output: str, name: str, one: Mapping[str, Any]) -> Iterable[str]:
    low, high = one["auc_95"]
    nothing = {"auc": None, "ece": None}
    rival, held_out = one.get("rival", nothing), one.get("held_out", nothing)
    between = _signed(one["minus_rival_95"]) if "rival" in one else ""
    figures = (
        f"{one['auc']:.3f}",
        f"{low:.3f}-{high:.3f}",
        f"{one['ece']:.3f}",
        *map(_cell, rival.values()),
        between,
        *map(_cell, held_out.values()),
    )
    return (output, name, *figures)


def _ahead(found: Mapping[str, Any]) -> str:
    """Of all choices of inputs that have a rival."""
    told = [(f"{output} from {name}", one["minus_rival_95"]) for output in OUTPUTS for name, one in found[output].items() if "rival" in one]
    ahead, behind = [name for name, (low, _) in told if low > 0], [name for name, (_, high) in told if high < 0]
    words = (f"Better beyond the interval: {', '.join(ahead) or 'none'}.", f"Worse beyond it: {', '.join(behind) or 'none'}.")
    return " ".join(words)


def _calibration(found: Mapping[str, Any]) -> str:
    """Of death on set b, against the project's target."""
    errors = {name: one["held_out"]["ece"] for name, one in found.items()}
    missed = [name for name, error in errors.items() if error > _MOST_ECE]
    told = f"On set b the ECE of death is {min(errors.values()):.3f} to {max(errors.values()):.3f} over the choices of inputs"
    return f"{told}; target at most {_MOST_ECE}: {'missed from ' + ', '.join(missed) if missed else 'met by all'}."


def _sharing(found: Mapping[str, Any]) -> str:
    helped = [name for name, one in found.items() if one["shared_minus_alone_95"][0] > 0]
    harmed = [name for name, one in found.items() if one["shared_minus_alone_95"][1] < 0]
    if not helped and not harmed:
        return "Beyond its interval sharing neither helps nor harms."
    return f"Beyond its interval sharing helps: {', '.join(helped) or 'none'}; harms: {', '.join(harmed) or 'none'}."


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _signed(pair: tuple[float, float]) -> str:
    return f"{pair[0]:+.3f} to {pair[1]:+.3f}"


def _rows(rows: Iterable[Iterable[Any]]) -> str:
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
