"""What a sentence says of a finding that it names: that it is there, that it is not, or neither.

The rules follow NegEx (Chapman, 2001) with its later terminators: a trigger before or behind a finding reaches it over a few words, farther
through a list, and never over a word that begins another thought. Of several triggers the first kind in PRECEDENCE counts. English, German.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Literal

Assertion = Literal["affirmed", "denied", "uncertain", "asked", "historical", "family"]
PRECEDENCE: tuple[Assertion, ...] = ("uncertain", "asked", "denied", "family", "historical")

NEAR, IN_A_LIST, FAR = 8, 20, 400
"""Words between a trigger and the finding that it governs; letters that so many words have at most."""

_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "’": "'"})
_WRAPPED = re.compile(r"[^\S\n]*\n[^\S\n]*(?=[a-zäöüß])")
_SPELLED = (
    (re.compile(r"(?<!\w)v\.? ?a\.(?: auf)?"), "verdacht auf"),
    (re.compile(r"(?<!\w)z\.? ?n\."), "zustand nach"),
    (re.compile(r"(?<!\w)vs\."), "versus"),
)
"""Whose full stops end no sentence."""
_SENTENCE = re.compile(r"[.;!]+(?=\s|$)|\n")


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile(r"(?<!\w)(?:" + "|".join(patterns) + r")(?!\w)")


# Their words say nothing of what follows.
_PSEUDO = _any(
    *(r"no (?:significant |interval |relevant )*(?:change|increase)", "no further", "not only", "not necessarily", "without difficulty"),
    *("gram negative", "not certain whether", "nicht nur", r"keine? (?:wesentlichen? |relevanten? )*(?:ver)?aenderung(?:en)?"),
)
_BEFORE: dict[Assertion, re.Pattern[str]] = {
    "uncertain": _any(
        *(
            r"(?:can ?not|could not|can't) (?:be )?(?:exclude|rule out)",
            "possibl[ey]",
            "probabl[ey]",
            "likely",
            "suspected",
            "versus",
            "vs",
        ),
        *(
            "suspicious for",
            "concerning for",
            "worrisome for",
            "may (?:represent|reflect|be)",
            "questionable",
            "suggestive of",
            "equivocal",
        ),
        *("verdacht auf", r"moeglich\w*", r"wahrscheinlich\w*", "fraglich\\w*", "nicht (?:sicher )?auszuschliessen"),
    ),
    "asked": _any(
        r"evaluate for", "assess for", r"rule[ds]? out", "r/o", "query", r"\?", "to exclude", "if", "zum ausschluss", "frage nach"
    ),
    "denied": _any(
        *("no", "without", "negative for", "absence of", "free of", "denies", "denied", "fails to reveal", "rather than"),
        *("(?:interval )?resolution of", "resolved", r"ke?in(?:e|er|en|em|es)?", "ohne", "frei von"),
    ),
    "family": _any("family history of", "familienanamnese"),
    "historical": _any("history of", "h/o", "s/p", "status post", "prior", "known", "zustand nach", r"bekannt\w*"),
}
_BEHIND: dict[Assertion, re.Pattern[str]] = {
    "uncertain": _any(
        *("(?:can ?not|could not) be (?:excluded|ruled out)", "not (?:excluded|ruled out)", "is possible", "versus", "vs", "less likely"),
        *("nicht (?:sicher )?(?:ausgeschlossen|auszuschliessen)", "moeglich", "fraglich"),
    ),
    "denied": _any(
        *("unlikely", "ruled out", "excluded", "not (?:seen|identified|visuali[sz]ed|present|evident)", "absent", "none", "negative"),
        *("ha(?:s|ve) resolved", "nicht (?:nachweisbar|erkennbar|abgrenzbar|sichtbar)", "ausgeschlossen", "unwahrscheinlich"),
    ),
}
_ENDS = _any(
    *("but", "however", "although", "except", "aside from", "apart from", "secondary to", "due to", "which", "yet", "there (?:is|are)"),
    *("(?:is|are) present", "aber", "jedoch", "ausser", "hingegen", "es zeigt sich", "findet sich"),
)
_LIST = re.compile(r",|(?<!\w)(?:or|nor|and|oder|und|noch)(?!\w)")


_Trigger = tuple[Assertion, int, int]
"""What it says of a finding, and where it stands."""


def sentences(text: str) -> Iterator[str]:
    """Lower case, umlauts spelled out, on one line each; a line that goes on in lower case was only wrapped."""
    whole = _WRAPPED.sub(" ", unicodedata.normalize("NFC", text)).lower().translate(_UMLAUTS)
    for pattern, words in _SPELLED:
        whole = pattern.sub(words, whole)
    for sentence in _SENTENCE.split(whole):
        if line := " ".join(sentence.split()):
            yield line


def assertion(sentence: str, start: int, end: int) -> Assertion:
    """What one of `sentences` says of the finding that it names from `start` to `end`."""
    before, behind = _triggers(sentence)
    kinds = {kind for kind, _, last in before if start - FAR <= last <= start and _reaches(sentence[last:start])}
    kinds |= {kind for kind, first, _ in behind if end <= first <= end + FAR and _reaches_back(sentence[end:first])}
    return next((kind for kind in PRECEDENCE if kind in kinds), "affirmed")


@lru_cache(maxsize=64)
def _triggers(sentence: str) -> tuple[list[_Trigger], list[_Trigger]]:
    """Those that govern what comes behind them, and those that govern what stood before."""
    silent = [match.span() for match in _PSEUDO.finditer(sentence)]

    def found(patterns: Mapping[Assertion, re.Pattern[str]]) -> list[_Trigger]:
        matches = [(kind, *match.span()) for kind, pattern in patterns.items() for match in pattern.finditer(sentence)]
        return [one for one in matches if not any(a <= one[1] < b for a, b in silent)]

    return found(_BEFORE), found(_BEHIND)


def _reaches_back(between: str) -> bool:
    return "," not in between and _reaches(between)


def _reaches(between: str) -> bool:
    if _ENDS.search(between):
        return False
    words = len(re.findall(r"\w[\w'-]*", between))
    return words <= (IN_A_LIST if _LIST.search(between) else NEAR)
