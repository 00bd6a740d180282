"""Code words shared by all documents, each from a published table."""

from __future__ import annotations

from typing import Literal

import msgspec

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"

RequestPriority = Literal["stat", "asap", "urgent", "routine"]
"""FHIR request-priority; HL7 0485 and DICOM (0040,1003) map to it (`pipeline.domain.priorities`)."""

PatientClass = Literal["E", "I", "O", "P", "R", "B", "C", "N", "U"]
"""HL7 table 0004: emergency, inpatient, outpatient, preadmit, recurring, obstetrics, commercial, not applicable, unknown."""

Sex = Literal["F", "M", "O", "U"]
"""HL7 table 0001 and DICOM (0010,0040), reduced to female, male, other, unknown."""

ObservationStatus = Literal["preliminary", "final", "corrected", "deleted"]
"""HL7 table 0085 by its effect: I,P,R,S -> preliminary; F,U -> final; C -> corrected; D,W,X -> deleted (retracted)."""

Comparator = Literal["<", "<=", ">", ">="]
"""FHIR quantity-comparator: the value is only known to lie on this side."""

RejectionCode = Literal["113001", "113037", "113038"]
"""DICOM CID 7010, the titles of rejection notes by which an image counts no more: quality, patient safety, incorrect worklist entry."""

AbnormalFlag = Literal["LL", "L", "N", "H", "HH", "A", "AA"]
"""HL7 table 0078 (OBX-8), the part that triage reads: LL, HH and AA are the laboratory's own critical marks."""


class Coding(msgspec.Struct, frozen=True, omit_defaults=True):
    """A code as FHIR's Coding; `system` None means a local code of the source."""

    code: str
    system: str | None = None
    display: str | None = None
