"""The head's card, written from the metrics alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.domain.image_answer import HeadReference
from pipeline.models.imaging.films import HANNOVER_CITATION, NIH_CITATION

_CARD = """\
# Image head: {head}, version {version}

**Not a medical device.** It orders a reading list; it does not diagnose, and it never moves a study down.

**What it looks at.** {expects} (CR or DX). Anything else is refused and said so. There is no head for any other examination.

**What it answers.** `pneumonia`: calibrated probability that the NIH report text names pneumonia, against no finding; it may move a
study up, after it is brought from the training share ({share:.0%}) to a department's (10 %). `intensive-care-7d`: intensive care on the
day of the film or within seven days, COVID-19 in-patients of one hospital; it is shown and moves nothing: 71 patients are too few.
An activation map of each, whose mean is the logit. The two data sets are never pooled under one label: they can be told apart with
AUC 1.0, so that a pooled label would be read from the scanner.

**How.** The first 15 blocks of EfficientNet-lite0 with ImageNet weights (Apache-2.0), frozen; mean and standard deviation of the maps
after four of them; a ridge-regularised linear read-out for each answer; Platt's sigmoid on out-of-fold logits; picture and mirror image
averaged. {megabytes:.1f} MB (encoder in half precision), opset {opset}, torch and ONNX agree to {difference:.0e}. Built with {versions}.

**Data.** {nih_citation}. {hannover_citation}.

## Pneumonia against no finding (NIH)
Patients split by hash; the fifth held out was used once, for this table. Choices were made by cross-validation inside the others:
AUC by ridge {tried}; last-layer features of the same encoder 0.868, a support vector machine on the features used here 0.919.

| films | patients | AUC | 95 % by patient | ECE | Brier | projection alone |
|---|---|---|---|---|---|---|
| {n} | {patients} | **{auc}** | {interval[0]}-{interval[1]} | {ece} | {brier} | {projection_alone_auc} |

Target 0.92: {nih_verdict}

| subgroup | films | with pneumonia | AUC |
|---|---|---|---|
{subgroups}

| sensitivity | specificity | PPV where 10 % have it |
|---|---|---|
{points}

## Intensive care now or within 7 days (Hannover)
{hannover[films]} films of {hannover[patients]} patients, {hannover[positives]} with the outcome; cross-validated over patients,
intervals by patient.

| input | AUC | 95 % |
|---|---|---|
{inputs}
| projection alone | {hannover[projection_alone_auc]} | |
| which values are missing, alone | {hannover[missing_labs_alone_auc]} | |
| image within AP films | {hannover[image_within_ap_auc]} | |

Late fusion minus image: {gain[0]} to {gain[1]}. {fusion_verdict} Much of the image's figure is that sick patients are taken AP: within
AP films it is lower. Joining both in one read-out stands for fusion of features; attention over more inputs was not trained, since 71
patients could not show its worth.

## Out of distribution
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
        points=_rows((one["sensitivity"], one["specificity"], one["ppv_at_10_percent"]) for one in nih["working_points"]),
        hannover=hannover,
        inputs=_rows((name.replace("_", " "), value, "{}-{}".format(*hannover["auc_95"][name])) for name, value in hannover["auc"].items()),
        gain=gain,
        fusion_verdict="Fusion shows a gain." if gain[0] > 0 else "Fusion shows no gain at 71 patients.",
        ood=ood,
        spoiled=_rows((f"films of patients held out, {way}", f"{share:.0%}") for way, share in ood["spoiled_refused"].items()),
    )


def _rows(rows: Any) -> str:
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
