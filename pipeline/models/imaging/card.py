"""The head's card, written from the metrics alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.domain.image_answer import HeadReference
from pipeline.models.imaging.evaluation import RIDGE_IMAGE
from pipeline.models.imaging.films import HANNOVER_CITATION, NIH_CITATION
from pipeline.models.imaging.readout import MEMBERS

_CARD = """\
# Image head: {head}, version {version}

**Not a medical device.** It orders a reading list; it does not diagnose, and it never moves a study down.

**What it looks at.** {expects} (CR or DX). Anything else is refused and said so. There is no head for any other examination.

**What it answers.** `pneumonia`: calibrated probability that the NIH report text names pneumonia, against no finding; it may move a
study up, after it is brought from the training share ({share:.0%}) to the site's (section `findings` of the site file).
`intensive-care-7d`: intensive care on the day of the film or within seven days, COVID-19 in-patients of one hospital; it is shown and
moves nothing: 71 patients are too few.
An activation map of each, whose mean is the logit, and `unlikeness` to the training films. `spread`, its uncertainty: half the width of
the probability between one standard deviation either way of {members} read-outs, each made from as many patients drawn again. The two data
sets are never pooled under one label: they can be told apart with AUC 1.0, so that a pooled label would be read from the scanner.

**How.** The first 15 blocks of EfficientNet-lite0 with ImageNet weights (Apache-2.0), frozen; mean and standard deviation of the maps
after four of them; a ridge-regularised linear read-out for each answer; Platt's sigmoid on out-of-fold logits; picture and mirror image
averaged. {megabytes:.1f} MB (encoder in half precision), opset {opset}, torch and ONNX agree to {difference:.0e}. Built with {versions}.

**Data.** {nih_citation}. {hannover_citation}.

## Pneumonia against no finding (NIH)
Patients split by hash; no choice was made by the fifth held out. Choices were made by cross-validation inside the others: AUC by ridge
{tried}. How often the fifth held out was used, as far as it was counted: {uses}
({used}).
Not counted before version 1; every training makes the table anew and adds to the count, `readfirst promote` compares versions on the same
patients, and so does whoever runs `readfirst evaluate --task nih`.

| films | patients | AUC | 95 % by patient | ECE | Brier | projection alone |
|---|---|---|---|---|---|---|
| {n} | {patients} | **{auc}** | {interval[0]}-{interval[1]} | {ece} | {brier} | {projection_alone_auc} |

Target 0.92: {nih_verdict}

| subgroup | films | with pneumonia | AUC |
|---|---|---|---|
{subgroups}

| sensitivity | specificity | PPV where {prevalence:.0%} have it |
|---|---|---|
{points}

### Where the read-outs disagree
Out of fold inside the training patients, then the patients held out, by third of the spread:

| | films | with pneumonia | AUC | ECE | Brier |
|---|---|---|---|---|---|
{spread}

Out of fold the spread tells which films are judged wrongly with AUC {errors[spread]}, nearness of the probability to even odds alone with
{errors[nearness to even odds]}, the read-outs' deviation in log odds alone with {errors[deviation in log odds]}:
{spread_verdict}

{rivals}## Intensive care now or within 7 days (Hannover)
{hannover[films]} films of {hannover[patients]} patients, {hannover[positives]} with the outcome; cross-validated over patients,
intervals by patient.

| input | AUC | 95 % |
|---|---|---|
{inputs}
| projection alone | {hannover[projection_alone_auc]} | |
| which values are missing, alone | {hannover[missing_labs_alone_auc]} | |
| image within AP films | {hannover[image_within_ap_auc]} | |

Late fusion minus image: {gain[0]} to {gain[1]}. {fusion_verdict} Much of the image's figure is that sick patients are taken AP: within
AP films it is lower.

{attention}## Out of distribution
| pictures | refused |
|---|---|
| {ood[films]} films of patients held out (target at most 5 %) | {ood[films_refused]:.1%} |
| chest films of `dicom-dev` | {ood[dicom_chest_refused]} |
| everything else in `dicom-dev` ({ood[dicom_others]} objects; target at least 95 %) | {ood[dicom_others_refused]:.1%} |
| of these, with pixels that could be judged ({ood[dicom_others_with_pixels]}) | {ood[dicom_others_with_pixels_refused]:.1%} |
{spoiled}

## Limits
- One American and one German hospital, adults. Labels of NIH come from report text. Half of the training films had the finding.
- `dicom-dev` holds few pictures that reach the check: most of its other objects are refused before, as too small, empty or no picture.
  Films of other body parts were not available: limbs and abdomen are stood in for by enlarged details and shuffled films.
- A film of another make of detector may be refused more often than those here.
"""

_RIVALS = """\
### What else could ship
By the same cross-validation; the difference to the read-out that ships ({shipped}), with its interval by patient.

| reader | AUC | minus shipped, 95 % |
|---|---|---|
{rivals}

{rivals_verdict} The read-out is one product in the graph, its map's mean is its logit, and a site's own films can move it without the
training films: a rival has to be better beyond its interval to outweigh that. Two are flattered: the kernel machine's two settings were
chosen on these very folds, and the last block (trained as `finetune --adapt last-block` does) ends when the patients tested say so. The
small network has one setting, trained from nothing on at most 700 films a fold.

"""
_ATTENTION = """\
### Every subset of the inputs
Late fusion (a logistic regression over the parts' out-of-fold logits, made for each subset; `finetune` ships one for all of them, in which
a part that is missing says nothing) beside attention over a token for the image and one for each value, trained with modality dropout: one
network for all subsets, calibrated for each inside the training patients. Both out of fold.

| inputs | late fusion: AUC | ECE | attention: AUC | ECE | attention minus late fusion, 95 % |
|---|---|---|---|---|---|
{subsets}

{attention_verdict} Of 243 films, an ECE of ten bins is about 0.06 by chance alone.

"""


def render(metrics: Mapping[str, Any], reference: HeadReference) -> str:
    """Markdown. `metrics` is what metrics.json holds."""
    nih, hannover, ood = metrics["nih"], metrics["hannover"], metrics["ood"]
    gain = hannover["late_fusion_minus_image_95"]
    return _CARD.format(
        head=reference.head,
        version=reference.version,
        expects=reference.expects[:1].upper() + reference.expects[1:],
        share=reference.findings[0].prevalence,
        megabytes=metrics["bytes"] / 1e6,
        opset=metrics["opset"],
        difference=metrics["onnx_max_difference"],
        versions=", ".join(f"{name} {number}" for name, number in metrics["versions"].items()),
        nih_citation=NIH_CITATION,
        hannover_citation=HANNOVER_CITATION,
        tried=", ".join(f"{ridge}: {value}" for ridge, value in metrics["nih_cross_validation_auc_by_ridge"].items()),
        **{name: nih[name] for name in ("n", "patients", "auc", "ece", "brier", "projection_alone_auc")},
        interval=nih["auc_95"],
        nih_verdict="reached." if nih["auc"] >= 0.92 else "missed.",
        subgroups=_rows((name, one["n"], one["positives"], one["auc"]) for name, one in nih["subgroups"].items()),
        **_spread(metrics),
        members=MEMBERS,
        **_uses(metrics["nih_held_out_uses"]),
        points=_rows((one["sensitivity"], one["specificity"], one["ppv"]) for one in nih["working_points"]),
        prevalence=nih["working_points"][0]["prevalence"],
        **_compared(metrics, hannover),
        hannover=hannover,
        inputs=_rows((name.replace("_", " "), value, "{}-{}".format(*hannover["auc_95"][name])) for name, value in hannover["auc"].items()),
        gain=gain,
        fusion_verdict="Fusion shows a gain." if gain[0] > 0 else "Fusion shows no gain at 71 patients.",
        ood=ood,
        spoiled=_rows((f"films of patients held out, {way}", f"{share:.0%}") for way, share in ood["spoiled_refused"].items()),
    )


def _compared(metrics: Mapping[str, Any], hannover: Mapping[str, Any]) -> dict[str, Any]:
    """What else could ship, and why it does not; nothing in a trial."""
    if "nih_cross_validation_rivals" not in metrics:
        return {"rivals": "Made in a trial: nothing else was tried, and its figures say nothing.\n\n", "attention": ""}
    rivals, attention, late = metrics["nih_cross_validation_rivals"], metrics["hannover_attention"], hannover["late_fusion_by_input"]
    better = [name for name, one in rivals.items() if one["minus_shipped_95"][0] > 0]
    ahead = [name for name, one in attention.items() if one["minus_late_fusion_95"][0] > 0]
    return {
        "rivals": _RIVALS.format(
            shipped=metrics["nih_cross_validation_auc_by_ridge"][str(RIDGE_IMAGE)],
            rivals=_rows((name, one["auc"], _signed(one["minus_shipped_95"])) for name, one in rivals.items()),
            rivals_verdict=f"Better beyond its interval: {', '.join(better)}." if better else "None is better beyond its interval.",
        ),
        "attention": _ATTENTION.format(
            subsets=_rows(
                (name, late[name]["auc"], late[name]["ece"], one["auc"], one["ece"], _signed(one["minus_late_fusion_95"]))
                for name, one in attention.items()
            ),
            attention_verdict=f"Attention is better for: {', '.join(ahead)}."
            if ahead
            else "Attention is better for none of them beyond its interval: late fusion stays.",
        ),
    }


def _spread(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """By third, and whether it says more than the probability does."""
    crossed, columns = metrics["nih_cross_validation_spread"], ("n", "positives", "auc", "ece", "brier")
    parts = (("out of fold", crossed["by_spread"]), ("held out", metrics["nih"]["by_spread"]))
    errors = crossed["auc_of_errors"]
    more = errors["spread"] > errors["nearness to even odds"]
    return {
        "spread": _rows((f"{part}, {third}", *(one[name] for name in columns)) for part, found in parts for third, one in found.items()),
        "errors": errors,
        "spread_verdict": "it says more than the probability does."
        if more
        else "it says how far the answer hangs on who was learned from, and no more of errors than the probability itself.",
    }


def _uses(uses: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How often the patients held out were looked at."""
    times = {1: "once", 2: "twice"}.get(len(uses), f"{len(uses)} times")
    return {"uses": times, "used": "; ".join(f"{one['why']}, AUC {one['auc']}" for one in uses)}


def _signed(pair: tuple[float, float]) -> str:
    return f"{pair[0]:+.3f} to {pair[1]:+.3f}"


def _rows(rows: Any) -> str:
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
