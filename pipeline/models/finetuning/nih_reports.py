"""NIH's films with sentences made from their labels, for trying the alignment. No report was ever read: it proves the mechanism only."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from pipeline.errors import NotFound
from pipeline.models.finetuning.alignment import COLUMNS
from pipeline.models.imaging.films import NIH

ORIGIN = (
    "**The reports are sentences made from NIH's labels, not a radiologist's words: this proves the mechanism, and nothing of reports.**"
)
_NORMAL = "No acute findings"


def write_manifest(data: Path, target: Path) -> Path:
    """CSV whose pictures stay where they are. A film and its sentence are rows of their own, of one study. Raises NotFound."""
    table = data / NIH / "labels.csv"
    if not table.is_file():
        raise NotFound(f"{table} is not there: --data names the folder that holds {NIH}/")
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    target.parent.mkdir(parents=True, exist_ok=True)
    pictures = Path(os.path.relpath((data / NIH / "png256").resolve(), target.parent.resolve()))
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for row in rows:
            about = {"study": row["Image Index"], "patient": f"nih-{row['Patient ID']}"}
            writer.writerow({**about, "image": str(pictures / row["Image Index"])})
            writer.writerow({**about, "text": sentence(row["Finding Labels"])})
    return target


def sentence(labels: str) -> str:
    """ "Effusion|Pleural_Thickening" as "Effusion. Pleural Thickening." """
    return ". ".join(_NORMAL if each == "No Finding" else each.replace("_", " ") for each in labels.split("|")) + "."
