"""Pseudonyms: what stands in every topic in place of a direct identifier."""

from __future__ import annotations

import hashlib
import hmac
import uuid

EVENT_NAMESPACE = uuid.UUID("6f6f1d0e-2f6b-5c55-9a0c-0f6d1c6f7e11")


def pseudonym(site_key: bytes, authority: str, identifier: str) -> str:
    """32 hex digits: HMAC-SHA256(site key, assigning authority | id). The same function serves patients, orders and accessions."""
    return hmac.new(site_key, f"{authority}|{identifier}".encode(), hashlib.sha256).hexdigest()[:32]


def patient_key(site_key: bytes, authority: str, patient_id: str) -> str:
    """The Kafka key of all events of a patient."""
    return pseudonym(site_key, authority, patient_id.strip())


def accession_key(site_key: bytes, accession: str) -> str:
    """Pseudonym of an accession number (DICOM (0008,0050), HL7 OBR-18/IPC-1), whatever system names it."""
    return pseudonym(site_key, "accession", accession.strip())


def order_key(site_key: bytes, placer_order_number: str) -> str:
    """Pseudonym of a placer order number (HL7 ORC-2, DICOM (0040,2016)), without its namespace: sources write it differently."""
    return pseudonym(site_key, "placer", placer_order_number.strip())


UNMATCHED = "unmatched-"


def unmatched_patient_key(site_key: bytes, study_uid: str) -> str:
    """The key that stands in for the patient of a study that names none, until something tells who it is."""
    return UNMATCHED + pseudonym(site_key, "unmatched", study_uid)[:22]


def event_id(source: str, identity: str) -> str:
    """A UUID that is the same each time the same message is sent again (name-based, RFC 9562 section 5.5)."""
    return str(uuid.uuid5(EVENT_NAMESPACE, f"{source}|{identity}"))
