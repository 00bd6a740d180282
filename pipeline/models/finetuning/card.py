"""The card of a fine-tuned version, written from its metrics alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_CARD = """\
# Model card: {model}, version {version}, fine-tuned by a site

**Not a medical device.** It orders a reading list; it does not diagnose, and it never moves a study down.

**What it answers.** The calibrated probability of *{outcome}*,
as the site's manifest labelled it, from whatever is there of: a frontal chest film, vital signs and laboratory values, words of the order.
A part that is missing says nothing.

**How.** Way: `{adapt}`{rank}, seed {seed}. The encoder's features through a ridge-regularised read-out; values as logarithms through
another; the shipped clinical model's logit (version {base_version}); emergencies that the text suspects;
{words}. One logistic regression over the
parts' logits, learned on patients that each part had not seen, joins and calibrates them; no part may count against itself. Weights:
{weights}. Torch and ONNX agree to {difference:.0e}; {megabytes:.1f} MB, opset {opset}.

## The site's pairs
| rows | used | refused | patients | with the outcome | rows with the outcome | without image | without values | without text |
|---|---|---|---|---|---|---|---|---|
| {rows} | {used} | {refused} | {patients} | {patients_with} | {with_outcome} | {without_image} | {without_observations} | {without_text} |

{remarks}

## Figures
{split}

| input | AUC | 95 % by patient | the fused model's AUC minus this one's |
|---|---|---|---|
{inputs}

ECE {ece}, Brier {brier}; they and the subgroups are of the mean probability of all repeats. The shipped image head would refuse
{unlike} of the pictures as unlike what it was made for.

{sentences}

| subgroup | rows | with the outcome | AUC |
|---|---|---|---|
{subgroups}

{alignment}## Limits
- Once promoted, it is asked live with all of it that there is: features, the catalogue's other values, what it learned of the words of
  orders (a report's words come too late to count), and the newest frontal chest film of the last seven days that the image head did not
  refuse. A film that is not prepared in time is scored without, and again with it.{never}
- Learned and tested at one site: elsewhere, and in other years, it may be worse.
- Early stopping and the parts' weights were chosen inside the training patients; intervals resample patients and keep the folds.
- The shipped models' answers are given where they have something to look at; they were made for other outcomes.
- Which values are missing is no input, but a value's presence is what a shortcut can be made of: compare with the lines `alone`.
"""


_ALIGNMENT = """\
## Films and reports without labels
Before, {films} films and {reports} reports of {patients} other patients were aligned: a linear projection of the encoder's features and one
of what a report says (affirmed, uncertain, denied, of each finding), by InfoNCE. Of the films {by_study} belong to a report by study, the
others only by patient. Left out: {left_out}. {origin}

What a film's report says, found among the {kinds} that the reports of {held_out} patients held out say ({tested} films):

| among the first | by chance | untrained | aligned | 95 % by patient | the most common first | both | both minus the most common, 95 % |
|---|---|---|---|---|---|---|---|
{recall}

A read-out of the pictures that favours the {space} directions learned, beside one that does not, on the same splits of the pairs:

| input | AUC without | with | with minus without, 95 % |
|---|---|---|---|
{gain}

{verdict}

"""


def render(metrics: Mapping[str, Any]) -> str:
    """Markdown. `metrics` is what metrics.json holds."""
    pairs, recipe, results = metrics["pairs"], metrics["recipe"], metrics["results"]
    never = metrics.get("never_asked_live", ())
    return _CARD.format(
        **{name: metrics[name] for name in ("model", "version", "outcome", "opset", "base_version")},
        never=f"\n  No code of the catalogue stands for {', '.join(never)}: live, that is always missing." if never else "",
        words=_words(metrics),
        adapt=recipe["adapt"],
        rank=f" (rank {recipe['rank']})" if recipe["adapt"] == "low-rank" else "",
        seed=recipe["seed"],
        weights=", ".join(f"{name} {weight:.2f}" for name, weight in metrics["join"].items()),
        difference=metrics["onnx_max_difference"],
        megabytes=metrics["bytes"] / 1e6,
        **{name: pairs[name] for name in ("rows", "used", "patients", "with_outcome", "without_image")},
        refused=sum(pairs["refused"].values()),
        patients_with=pairs["patients_with_outcome"],
        **{name: pairs[name] for name in ("without_observations", "without_text")},
        remarks=_bullets(pairs["remarks"]),
        split=metrics["split"],
        inputs=_rows(_inputs(results)),
        unlike=metrics["pictures_unlike_the_shipped_heads"],
        ece=results["ece"],
        brier=results["brier"],
        sentences=_bullets(metrics["sentences"]),
        alignment=of_alignment(metrics["alignment"]) if "alignment" in metrics else "",
        subgroups=_rows((name, one["n"], one["positives"], _told(one["auc"])) for name, one in results["subgroups"].items()),
    )


def _words(metrics: Mapping[str, Any]) -> str:
    if not metrics["join"]["text"]:
        return "of other words nothing, since too few have any or they did not help out of fold"
    return (
        "other words of the text, hashed into {buckets} buckets, weighted by how rare they are and embedded in {dimensions} dimensions by "
        "partial least squares ({heard} buckets count)".format(**metrics["text"])
    )


def of_alignment(told: Mapping[str, Any]) -> str:
    """The card's section on films and reports without labels."""
    recall, gains = told["recall"], told["finetuning"]
    worse = [name for name, one in gains.items() if one["gain_95"][1] < 0]
    left = (
        f"It did harm ({', '.join(worse)}), and this version does without it."
        if worse
        else "It is not shown to help, and this version does without it."
    )
    return _ALIGNMENT.format(
        **{name: told[name] for name in ("films", "reports", "patients", "by_study", "origin", "space")},
        left_out=", ".join(f"{count} {reason}" for reason, count in told["left_out"].items()) or "nothing",
        kinds=next(iter(recall.values()))["kinds"],
        held_out=told["held_out"]["patients"],
        tested=told["held_out"]["films"],
        recall=_rows((at, *_recalled(one)) for at, one in recall.items()),
        gain=_rows((name, _told(one["without"]), _told(one["auc"]), _span(one["gain_95"])) for name, one in gains.items()),
        verdict="It helped, and this version uses it." if told["used"] else left,
    )


def _recalled(one: Mapping[str, Any]) -> Iterable[str]:
    yield from (f"{one[name]:.3f}" for name in ("chance", "untrained", "aligned"))
    yield "{:.3f} to {:.3f}".format(*one["aligned_95"])
    yield from (f"{one[name]:.3f}" for name in ("common", "both"))
    yield _span(one["both_minus_common_95"])


def _span(pair: tuple[float, float]) -> str:
    return f"{pair[0]:+.3f} to {pair[1]:+.3f}"


def _inputs(results: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    for name, value in results["auc_by_input"].items():
        low, high = results["auc_by_input_95"][name]
        minus = results["fused_minus_95"].get(name)
        yield name, _told(value), f"{low}-{high}", "" if minus is None else f"{minus[0]:+} to {minus[1]:+}"


def _told(value: float | None) -> str:
    return "too few" if value is None else str(value)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _rows(rows: Iterable[Iterable[Any]]) -> str:
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
