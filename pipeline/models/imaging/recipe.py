"""What `train imaging` makes: the head, what it is for, and what it may be compared by."""

from __future__ import annotations

from pipeline.domain.image_heads import Scope

HEAD = "chest_frontal"
VERSION = "1"
EXPECTS = "an upright frontal chest radiograph"
SCOPE = Scope(modalities=("CR", "DX"), body_parts=("CHEST", "THORAX", "LUNG", None), views=("AP", "PA", None))
FINDINGS = (
    ("pneumonia", "pneumonia", True),
    ("intensive-care-7d", "intensive care now or within 7 days (COVID-19)", False),
)
"""Code, label, and whether it ranks."""
TASKS: dict[str, str | None] = {"nih": "pneumonia", "hannover": "intensive-care-7d", "ood": None}
"""Of `evaluate`, with the finding that each is about."""
COMPARED = "nih"
"""The task that tells at promotion whether a version is worse."""
RIDGES = (30.0, 100.0, 200.0, 500.0)
"""Tried by cross-validation inside the training patients; the figures stand in the card."""
SEED = 1
"""Of what is drawn: members of the spread, spoiled films of the check, and the rivals' weights. Read-outs and folds draw nothing."""
METRICS_FILE, CARD_FILE = "metrics.json", "CARD.md"
