"""What a procedure is: imaging or not, with which modality, of which part of the body."""

from __future__ import annotations

import re

from pipeline.adapters.hl7v2.message import Segment

SECTIONS = {
    "RAD": None,
    "IMG": None,
    "RX": "DX",
    "XR": "DX",
    "XRC": "RF",
    "CT": "CT",
    "NMR": "MR",
    "MR": "MR",
    "MRI": "MR",
    "RUS": "US",
    "US": "US",
    "OUS": "US",
    "VUS": "US",
    "CUS": "US",
    "NMS": "NM",
    "NM": "NM",
    "CR": "CR",
    "DX": "DX",
    "MG": "MG",
    "PT": None,  # positron emission in DICOM, physical therapy in HL7: the text decides
    "RF": "RF",
    "XA": "XA",
}
"""OBR-24: the imaging part of table 0074, and DICOM's modality codes, which many senders put there -> DICOM modality."""

_NOT_IMAGING = frozenset("LAB CH HM MB BG BLB CG CP CTH IMM ICU MCB MYC OTH OT PHR PHY RC RT SP SR TX VR".split())  # noqa: SIM905
"""OBR-24 of other services (table 0074)."""

# Words that name a modality by themselves, and those that only do so beside a part of the body (CT is also a bacterium, US a country).
_WORDS = {
    "mri": "MR",
    "mra": "MR",
    "mrt": "MR",
    "mrcp": "MR",
    "cta": "CT",
    "cxr": "DX",
    "kub": "DX",
    "xray": "DX",
    "radiograph": "DX",
    "radiography": "DX",
    "röntgen": "DX",
    "roentgen": "DX",
    "ultrasound": "US",
    "sonography": "US",
    "sonographie": "US",
    "ultraschall": "US",
    "sono": "US",
    "mammography": "MG",
    "mammogram": "MG",
    "mammographie": "MG",
    "fluoroscopy": "RF",
    "durchleuchtung": "RF",
    "scintigraphy": "NM",
    "szintigraphie": "NM",
    "tomography": "CT",
    "angiography": "XA",
    "pet": "PT",
}
_SHORT = {
    "ct": "CT",
    "mr": "MR",
    "us": "US",
    "xr": "DX",
    "cr": "CR",
    "dx": "DX",
    "nm": "NM",
    "mg": "MG",
    "rx": "DX",
    "xa": "XA",
    "rf": "RF",
}
_PARTS = {
    "HEAD": "head brain skull cranium cranial schädel kopf cct hirn cerebral intracranial",
    "NECK": "neck carotid hals soft-tissue-neck",
    "CHEST": "chest thorax lung lungs pulmonary ribs rib thorakal cxr",
    "HEART": "heart cardiac coronary",
    "ABDOMEN": "abdomen abdominal abd liver kidney kidneys renal kub gallbladder bauch leber niere pancreas spleen appendix mrcp",
    "PELVIS": "pelvis pelvic becken hip hips hüfte bladder",
    "CSPINE": "cspine c-spine cervical hws",
    "LSPINE": "lspine l-spine lumbar lws",
    "TSPINE": "tspine t-spine thoracic bws",
    "SPINE": "spine spinal wirbelsäule",
    "SHOULDER": "shoulder schulter clavicle",
    "ARM": "arm humerus forearm elbow wrist ellenbogen",
    "HAND": "hand finger fingers thumb",
    "KNEE": "knee knie",
    "LEG": "leg femur tibia fibula thigh bein",
    "ANKLE": "ankle sprunggelenk",
    "FOOT": "foot feet toe toes fuß calcaneus",
    "BREAST": "breast mamma brust",
    "AORTA": "aorta aortic",
}
"""DICOM Body Part Examined (PS3.16 annex L) -> words."""
_PART_OF = {word: part for part, words in _PARTS.items() for word in words.split()}
_LABORATORY = re.compile(
    r"\b(?:chlamydia|trachomatis|gonorr\w*|pcr|culture|antibod\w*|antigen|serum|plasma|urine|blood|swab|panel|level|metabolic)\b"
)
_TOKENS = re.compile(r"[^\W_]+(?:-[^\W\d_]+)*")


def is_imaging(obr: Segment | None, more: bool = False) -> bool:
    """OBR-24 decides where it can; then CPT's radiology section and words. more: the message itself says so (IPC, ZDS, OMI)."""
    section = obr.text(24).upper() if obr else ""
    if more or (section in SECTIONS and section != "PT"):
        return True
    if obr is None or section in _NOT_IMAGING:
        return False
    text = procedure_text(obr)
    if _cpt_radiology(obr):
        return True
    return names_imaging(text)


def names_imaging(text: str) -> bool:
    """Whether words of one procedure name an imaging one."""
    plain = _plain(text)
    return _modality_in(plain) is not None and not _LABORATORY.search(plain)


def modality(obr: Segment | None, ipc: Segment | None) -> str | None:
    """A DICOM modality: IPC-5, OBR-24, or the procedure's words."""
    if ipc and re.fullmatch(r"[A-Z]{2,6}", ipc.text(5)):
        return ipc.text(5)
    if obr is None:
        return None
    return SECTIONS.get(obr.text(24).upper()) or _modality_in(procedure_text(obr))


def body_part(obr: Segment | None) -> str | None:
    """DICOM Body Part Examined, by the procedure's words; the first part named counts."""
    if obr is None:
        return None
    text = procedure_text(obr)
    found = [_PART_OF[token] for token in _TOKENS.findall(text) if token in _PART_OF]
    return found[0] if found else _compound(text)[1]


def procedure_text(obr: Segment) -> str:
    """OBR-4 and OBR-44, codes and texts, lower case."""
    values = [obr.value(4), obr.value(44)]
    return _plain(" ".join(value.text(part) for value in values for part in (1, 2, 4, 5)))


def _plain(text: str) -> str:
    return text.lower().replace("x-ray", "xray").replace("x ray", "xray")


def _cpt_radiology(obr: Segment) -> bool:
    """CPT 70010 to 79999 without radiation oncology (77261 to 77799)."""
    value = obr.value(4)
    for code, system in ((value.text(1), value.text(3)), (value.text(4), value.text(6))):
        if system.upper() in ("CPT", "C4", "CPT4", "CPT-4") and re.fullmatch(r"7\d{4}", code, re.ASCII):
            return not 77261 <= int(code) <= 77799
    return False


def _modality_in(text: str) -> str | None:
    """CT angiography is CT, PET/CT is PET: the short words decide beside another sign of imaging, except against PET."""
    tokens = _TOKENS.findall(text)
    named = [_WORDS[token] for token in tokens if token in _WORDS]
    short = [_SHORT[token] for token in tokens if token in _SHORT]
    if "PT" in named:
        return "PT"
    if short and (named or any(token in _PART_OF for token in tokens)):
        return short[0]
    return named[0] if named else _compound(text)[0]


def _compound(text: str) -> tuple[str | None, str | None]:
    """CTHEAD, XRCHEST: a modality and a part of the body in one code."""
    for token in _TOKENS.findall(text):
        for part, name in _PART_OF.items():
            short = token.removesuffix(part)
            if len(part) > 2 and short != token and short in _SHORT:
                return _SHORT[short], name
    return None, None
