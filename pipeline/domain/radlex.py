"""RadLex codes of what an alert says; a finding that is not here has none: a wrong code is worse than no code.

Source: ACR categories by IHE Results Distribution (IHE RAD.IDR's value set prints RID49483 for category 3, its text and IHE RD RID49482);
findings as RadLex 4 has them in NCBO BioPortal.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pipeline.domain.escalation_policy import Category

SYSTEM = "http://radlex.org"

CATEGORIES: Mapping[Category, tuple[str, str]] = MappingProxyType(
    {
        1: ("RID49480", "Cat 1 Emergent Actionable Finding"),
        2: ("RID49481", "Cat 2 Urgent Actionable Finding"),
        3: ("RID49482", "Cat 3 Non-critical Actionable Finding"),
    }
)

FINDINGS: Mapping[str, str] = MappingProxyType({"pneumothorax": "RID5352", "pulmonary-embolism": "RID4834"})
"""What a finding is called in reports (`report_words`) -> RadLex id."""

EMERGENT: frozenset[str] = frozenset({"pneumothorax", "intracranial-haemorrhage", "vessel-occlusion", "aortic-dissection", "free-air"})
"""Findings of category 1 whoever sees them: by its definition, death or lasting harm unless somebody acts within minutes."""
