"""What `readfirst evaluate --task nih|hannover|ood --out` writes: figures, tables and plots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.models.artefacts import pretty
from pipeline.models.evaluation import plots
from pipeline.models.evaluation.calibration import calibration
from pipeline.models.evaluation.decision_curve import decision_curve
from pipeline.models.evaluation.discrimination import roc
from pipeline.models.evaluation.summary import FIGURES
from pipeline.models.evaluation.tables import table
from pipeline.models.imaging.evaluation import Answered, Crossed, Looked, of_subset

Row = Mapping[str, Any]
FUSED = "image + labs + blood gases"
"""Of Hannover's inputs what the report is about; the image alone stands beside it."""


def nih(out: Path, found: Row, asked: Answered) -> None:
    """metrics.json, report.md and three plots (SVG). found: as `evaluation.of_nih` gives it."""
    whole = _with_curves(found, asked)
    _write(out, whole, _tables(whole))
    _plot(out, {"image head": asked}, asked)


def hannover(out: Path, found: Row, asked: Crossed, prevalence: float | None) -> None:
    """The same of the fused inputs, out of fold, with the image alone beside them. found: as `evaluation.of_hannover` gives it."""
    answered = {name: of_subset(asked, name, prevalence) for name in (FUSED, "image")}
    each = {name: _with_curves(figures, told) for name, (told, figures) in answered.items()}
    lines = [f"Each film out of fold, calibrated inside the other patients. By input: AUC {found['auc']}; every subset below.\n"]
    for name, figures in each.items():
        lines += [f"\n# {name}\n", *_tables(figures)]
    lines += ["\n# Every subset of the inputs\n", *table([{"inputs": name, **one} for name, one in found["late_fusion_by_input"].items()])]
    _write(out, {**found, "by_input": each}, lines)
    _plot(out, {name: told for name, (told, _) in answered.items()}, answered[FUSED][0])


def ood(out: Path, found: Row, seen: Looked) -> None:
    """metrics.json, report.md and how well unlikeness tells spoiled films from others (SVG). found: as `evaluation.ood` gives it."""
    films, spoiled = np.concatenate(list(seen.films.values())), np.concatenate(list(seen.spoiled.values()))
    quantiles = {
        name: {f"{share:.0%}": round(float(np.quantile(part, share)), 3) for share in (0.05, 0.5, 0.95)}
        for name, part in (*seen.films.items(), *seen.spoiled.items())
    }
    refused = {**found["films_refused_by_set"], **found["spoiled_refused"]}
    lines = [
        f"{found['films']} films of patients held out, {found['films_refused']:.1%} refused.",
        f"`dicom-dev`: {found['dicom_chest_refused']} chest films,",
        f"{found['dicom_others_refused']:.1%} of {found['dicom_others']} other objects.\n",
        "## Unlikeness (refused above 1)\n",
        *table([{"pictures": name, "refused": refused[name], **one} for name, one in quantiles.items()]),
        "\n## What became of `dicom-dev`\n",
        *table([{"verdict": name, "objects": count} for name, count in found["dicom_reasons"].items()]),
    ]
    _write(out, {**found, "unlikeness": quantiles}, lines)
    foreign = np.arange(len(films) + len(spoiled)) >= len(films)
    plots.plot_roc(out / "roc.svg", {"spoiled films by unlikeness": roc(foreign, np.concatenate([films, spoiled]))})


def _with_curves(found: Row, asked: Answered) -> dict[str, Any]:
    positive, probability = asked.films.positive, asked.probability
    bins, benefit = calibration(positive, probability), decision_curve(positive, probability)
    return {**found, "calibration": [asdict(one) for one in bins], "decision_curve": [asdict(one) for one in benefit]}


def _write(out: Path, whole: Row, lines: Iterable[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_bytes(pretty(whole))
    (out / "report.md").write_text("\n".join(lines) + "\n")


def _plot(out: Path, each: Mapping[str, Answered], main: Answered) -> None:
    positive, probability = main.films.positive, main.probability
    plots.plot_calibration(out / "calibration.svg", calibration(positive, probability))
    plots.plot_roc(out / "roc.svg", {name: roc(one.films.positive, one.probability) for name, one in each.items()})
    plots.plot_decision_curve(out / "decision.svg", decision_curve(positive, probability))


def _tables(found: Row) -> Iterator[str]:
    yield f"## Result\n\n{found['n']} films of {found['patients']} patients, {found['positives']} with the finding.\n"
    if "held_out_uses" in found:
        yield f"These patients were looked at {found['held_out_uses']} times that are known, this one not among them.\n"
    yield from table(
        [{"figure": name, "value": found[name], "95 % by patient": "{} to {}".format(*found[f"{name}_95"])} for name in FIGURES]
    )
    for title, name in (("Subgroups", "subgroups"), ("By spread", "by_spread")):
        if name in found:
            yield f"\n## {title}\n"
            yield from table(
                [{"": part, **{each: one[each] for each in ("n", "positives", *FIGURES)}} for part, one in found[name].items()]
            )
    for title, name in (("Working points", "working_points"), ("Calibration", "calibration"), ("Net benefit", "decision_curve")):
        yield f"\n## {title}\n"
        yield from table(found[name])
