"""Which emergencies an order's own words suspect, in English and German.

"Rule out" and a question mark are suspicion and count. A negated finding ("no trauma", "Schlaganfall ausgeschlossen") does not count,
nor does a past one ("history of stroke", "Z.n. Insult"). The rules follow NegEx (Chapman, 2001), with commas ending a negation:
a miss is worse than a look.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from pipeline.domain.emergencies import BUNDLES, Bundle

LONGEST_TEXT = 4000
_FOLD = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "’": "'"})


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A bundle and the words that named it."""

    bundle: Bundle
    words: str


def _words(*phrases: str) -> str:
    return r"\b(?:" + "|".join(phrases) + r")(?!\w)"


def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_SPELLED = tuple(
    (_pattern(pattern), words)
    for pattern, words in (
        (r"\bd?v\. ?a\.(?: auf)?|\bV\.?a\b\.?", "verdacht auf"),
        (r"\bz\. ?n\.|\bZ\.?n\b\.?|\bs/p\b|\bst\. ?p\.|\bzustand nach\b", "status post"),
        (r"\ba\. ?v\.|\b[rc]/o\b", "rule out"),
        (r"\bw/o\b", "without"),
        (r"\bh/o\b|\bhx(?: of)?\b", "history of"),
        (r"\d+[ -]?(?:years?|yrs?|y/?o|jahre?)[ -]?(?:old|alt\w*)?\b", "aged"),
        # doubly negated: nothing is excluded yet
        (
            r"\b(?:can ?not|could not|can't|not|nicht)(?: be)?(?: sicher)? "
            r"(?:exclude\w*|ruled? out|auszuschliessen|ausgeschlossen|ausschliessbar)",
            "possible",
        ),
    )
)
_SENTENCE = re.compile(r"[.;:!\n]+(?=\s|$)|\n|[;!]")
_NEGATION = _pattern(
    _words("no", "without", "denies", "denied", "negative for", "absence of", "free of", r"ke?in(?:e|er|en|em|erlei)?", "ohne")
    + r"|\b(?:not|nicht)(?= \S* ?$)"  # "not a stroke", but "not able to move the left arm"
)
_PAST = _pattern(
    _words(
        *("history of", "past", "previous", "prior", "old", "known", "chronic", "remote", "former", r"follow[- ]?up", "(?-i:FU)", "f/u"),
        *(
            r"bekannt\w*",
            r"anamnestisch\w*",
            "alte[rsn]?",
            r"frueher\w*",
            r"chronisch\w*",
            "familienanamnese",
            "verlaufskontrolle",
            "kontrolle",
        ),
        *("resolved", "treated"),
    )
)
_AFTER = _pattern(_words("status post"))
_ACUTE = _pattern(
    _words(
        *("but", "however", "now", "new", "acute", "current", "with", "suspected", "possible", "query", "rule out"),
        *("aber", "jedoch", "jetzt", r"neu\w*", r"akut\w*", "mit", "verdacht", "ausschluss", "nun"),
    )
    + r"|\?"
)
_LIST_WORD = _pattern(_words("or", "nor", "oder", "noch", "bzw"))
_EXCLUDED = _pattern(
    r"[\s,]*(?:(?:was|were|is|has been|wurde|ist|sicher|bereits|already) )*"
    r"(?:excluded|ruled out|ausgeschlossen|unlikely|unwahrscheinlich|negativ\w*)(?!\w)"
)
_LONG_AGO = _pattern(
    r"\W*(?:(?:in|im|vor|from|of) )?"
    r"(?:(?:19|20)\d\d\b|(?:\d+|many|several|mehreren|einigen) (?:weeks?|months?|years?|wochen|monaten?|jahren?)\b)"
)


@lru_cache(maxsize=4096)
def find(*texts: str | None) -> tuple[Suspicion, ...]:
    """The emergencies that these texts (indication, procedure, description) suspect, most urgent first, each bundle once."""
    found: dict[str, Suspicion] = {}
    for text in texts:
        for sentence in _SENTENCE.split(plain(text or "")):
            for suspicion in _in_sentence(sentence):
                found.setdefault(suspicion.bundle.code, suspicion)
    if "major-trauma" in found:
        found.pop("trauma", None)
    return tuple(sorted(found.values(), key=lambda one: (one.bundle.minutes, one.bundle.code)))


def plain(text: str) -> str:
    """Umlauts, usual abbreviations and separators as words; no more than LONGEST_TEXT of it."""
    folded = unicodedata.normalize("NFC", text[:LONGEST_TEXT]).translate(_FOLD)
    for pattern, words in _SPELLED:
        folded = pattern.sub(words, folded)
    return re.sub(r"[ \t\r\f\v\xa0_^&]+", " ", folded)


def _in_sentence(sentence: str) -> list[Suspicion]:
    return [
        Suspicion(bundle, match[0])
        for bundle in BUNDLES
        for match in bundle.pattern.finditer(sentence)
        if _counts(bundle, sentence[: match.start()], sentence[match.end() :])
    ]


def _counts(bundle: Bundle, before: str, after: str) -> bool:
    if after.lstrip().startswith("?"):
        return True
    if _EXCLUDED.match(after) or _LONG_AGO.match(after):
        return False
    if _governs(_NEGATION, before, words=6, through_lists=True) or _governs(_PAST, before, words=3, through_lists=False):
        return False
    return bundle.after_counts or not _governs(_AFTER, before, words=3, through_lists=False)


def _governs(trigger: re.Pattern[str], before: str, words: int, through_lists: bool) -> bool:
    """Whether the last trigger before a finding reaches it: near, in the same phrase, and with nothing acute in between."""
    ends = [match.end() for match in trigger.finditer(before)]
    if not ends:
        return False
    between = before[ends[-1] :]
    if len(between.split()) > words or _ACUTE.search(between):
        return False
    _, comma, tail = between.rpartition(",")
    return not comma or (through_lists and _LIST_WORD.search(tail) is not None)
