"""Which findings a report affirms, denies or leaves open, in English and German, as far as a model may speak of the same ones.

A report of which no word is understood says nothing: only one that is understood can be silent on a finding. Sections that tell what was
asked, known before or done are not the report's own word.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from pipeline.domain.assertions import Assertion, assertion, sentences
from schemas.codes import Coding
from schemas.findings import Reported, ReportedWord

LONGEST_TEXT = 20_000
"""Characters from the end, where the impression stands."""
_MOST_IN_A_LINE = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """names: the finding itself. kin: signs of it, which say it when they are denied and at least touch on it when they are not."""

    code: str
    label: str
    names: re.Pattern[str]
    kin: re.Pattern[str] | None = None


def _finding(code: str, label: str, names: str, kin: str = "") -> Finding:
    return Finding(code, label, _words(names), _words(kin) if kin else None)


def _words(patterns: str) -> re.Pattern[str]:
    return re.compile(r"(?<!\w)(?:" + "|".join(patterns.split("  ")) + r")")


# Two spaces between patterns; stems end open. Mentions after CheXpert's lists (Irvin, 2019), German words ours.
FINDINGS = (
    _finding("pneumothorax", "pneumothorax", r"(?:\w+)?pneumothora\w+  ptx(?!\w)", "pleural air"),
    _finding(
        "pneumonia",
        "pneumonia",
        r"(?:broncho)?pneumoni[aec]\w*",
        r"infectio\w+  infi?ltrat\w*  consolidat\w+  konsolidier\w+  opaci\w+  airspace disease  verschattung\w*  infekt\w*",
    ),
    _finding(
        "pulmonary-embolism",
        "pulmonary embolism",
        r"(?:pulmonary|lung) (?:thrombo-?)?embol\w+  pe(?!\w)  lungen(?:arterien)?embolie\w*  lae(?!\w)",
        r"filling defects?  fuellungsdefekt\w*  embol\w+",
    ),
    _finding(
        "intracranial-haemorrhage",
        "intracranial haemorrhage",
        r"(?:intra-?cranial|intracerebral|intraparenchymal|intraventricular|subarachnoid|subdural|epidural|extradural|acute) "
        r"(?:ha?emorrhag\w+|bleed\w*|ha?ematoma\w*|blood)  ich(?!\w)  sah(?!\w)  sdh(?!\w)  icb(?!\w)  sab(?!\w)  "
        r"(?:hirn|intrakranielle |intrazerebrale |subarachnoidal)blutung\w*  (?:sub|epi)dural(?:es )?haematom\w*",
        r"ha?emorrhag\w+  bleed\w*  blutung\w*  ha?ematom\w*",
    ),
    _finding(
        "vessel-occlusion",
        "large vessel occlusion",
        r"(?:large )?vessel occlusion\w*  lvo(?!\w)  gefaessverschlu\w+",
        r"occlu\w+  verschlu\w+",
    ),
    _finding("fracture", "fracture", r"fractur\w*  (?:\w+)?fraktur\w*"),
    _finding("pleural-effusion", "pleural effusion", r"(?:pleural )?effusions?  pleural fluid  (?:pleura)?erg(?:uss|uesse)\w*"),
    _finding(
        "pulmonary-oedema", "pulmonary oedema", r"(?:pulmonary |lung )?o?edema  (?:lungen)?oedem\w*", r"vascular congestion  stauung\w*"
    ),
    _finding("consolidation", "consolidation", r"consolidat\w+  konsolidier\w+", r"infi?ltrat\w*  opaci\w+  verschattung\w*"),
    _finding("atelectasis", "atelectasis", r"atelecta\w+  atelekta\w+", r"collaps\w+  kollaps\w*"),
    _finding(
        "cardiomegaly",
        "cardiomegaly",
        r"cardiomegal\w+  kardiomegal\w+  enlarged heart  herzvergroesser\w+",
        "heart size  cardiac silhouette  herz",
    ),
    _finding("lung-lesion", "lung lesion", r"(?:lung |pulmonary )?(?:mass|nodul|lesion)\w*  (?:lungen)?rundherd\w*  raumforderung\w*"),
    _finding("free-air", "free air", r"free (?:intra-?peritoneal )?air  pneumoperitoneum\w*  freie luft"),
    _finding("aortic-dissection", "aortic dissection", r"(?:aortic |aorten)?disse[ck]tion\w*"),
)
BY_CODE = {finding.code: finding for finding in FINDINGS}
_ALIASES = {
    "ich": "intracranial-haemorrhage",
    "intracranial-hemorrhage": "intracranial-haemorrhage",
    "lvo": "vessel-occlusion",
    "pe": "pulmonary-embolism",
}

_NORMAL = _words(r"normal\w*  unremarkable  clear(?!\w)  no acute  unauffaellig\w*  o\.? ?b(?!\w)  regelrecht\w*  altersentsprechend\w*")
_HEADING = re.compile(r"(?:^|\n|(?<=[.;]\s))\s*([^\W\d_][^\W\d_ /]*(?:[ /][^\W\d_]+){0,3}):", re.UNICODE)
_NOT_ITS_OWN = re.compile(
    r"(?:clinical.*|indications?|history|reason.*|comparison|technique|exam(?:ination)?|procedure|protocol"
    r"|klinische.*|indikation|fragestellung|anamnese|technik|methode|vergleich|voraufnahmen?|untersuchung)",
    re.IGNORECASE,
)
_OF: dict[Assertion, ReportedWord] = {"affirmed": "affirmed", "denied": "denied"}
_STRONGEST: tuple[ReportedWord, ...] = ("affirmed", "uncertain", "denied")


def finding(code: str) -> Finding | None:
    """What a model's code stands for; None where reports are not searched for it."""
    name = code.lower().replace("_", "-")
    return BY_CODE.get(_ALIASES.get(name, name))


def said(text: str | None, impression: Sequence[Coding]) -> tuple[Reported, ...] | None:
    """By code; () where a report is understood and names none, None where nothing in it is understood."""
    return _said((text or "")[-LONGEST_TEXT:], tuple(code.display or code.code for code in impression))


@lru_cache(maxsize=512)
def _said(text: str, impression: tuple[str, ...]) -> tuple[Reported, ...] | None:
    lines = [line for part in (*_own(text), *impression) for line in sentences(part)]
    found = [Reported(each.code, word) for each in FINDINGS if (word := _of(each, lines)) is not None]
    understood = bool(found) or any(_NORMAL.search(line) for line in lines)
    return tuple(found) if understood else None


def _own(text: str) -> Iterator[str]:
    """Without the sections that are not the report's own word."""
    heads = list(_HEADING.finditer(text))
    ends = [*(head.start() for head in heads), len(text)]
    yield text[: ends[0]]
    for head, end in zip(heads, ends[1:], strict=True):
        if not _NOT_ITS_OWN.fullmatch(head[1]):
            yield text[head.end() : end]


def _of(each: Finding, lines: Collection[str]) -> ReportedWord | None:
    named = _mentions(each.names, lines)
    if named:
        return min(named, key=_STRONGEST.index)
    touched = _mentions(each.kin, lines) if each.kin else set()
    return None if not touched else "denied" if touched == {"denied"} else "uncertain"


def _mentions(pattern: re.Pattern[str], lines: Collection[str]) -> set[ReportedWord]:
    matches = ((line, match) for line in lines for match in islice(pattern.finditer(line), _MOST_IN_A_LINE))
    words = (assertion(line, *match.span()) for line, match in matches)
    return {_OF.get(word, "uncertain") for word in words if word != "family"}
