"""Takes a patient's own identifiers out of free text before it enters a topic."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

REMOVED = "[removed]"

_MONTHS = (
    ("january", "jan", "januar"),
    ("february", "feb", "februar"),
    ("march", "mar", "märz", "mrz"),
    ("april", "apr"),
    ("may", "mai"),
    ("june", "jun", "juni"),
    ("july", "jul", "juli"),
    ("august", "aug"),
    ("september", "sept", "sep"),
    ("october", "oct", "oktober", "okt"),
    ("november", "nov"),
    ("december", "dec", "dezember", "dez"),
)
_SPELLINGS = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "å": "aa", "ø": "oe", "æ": "ae", "œ": "oe"}
_BACK = {spelled: letter for letter, spelled in _SPELLINGS.items() if letter in "äöüß"}
_NAME_PARTS = re.compile(r"[\s^&~,;'’\-]+")


def scrub(text: str, names: Iterable[str] = (), ids: Iterable[str] = (), birthdate: str | None = None) -> str:
    """`text` without the names (any part, any case, with or without accents), ids and birth date (YYYYMMDD, however written).

    Whole words only; parts of one letter and numbers of one or two digits are left, they identify nobody.
    """
    pattern = _pattern(tuple(names), tuple(ids), birthdate or "")
    return text if pattern is None else pattern.sub(REMOVED, unicodedata.normalize("NFC", text))


@lru_cache(maxsize=1024)
def _pattern(names: tuple[str, ...], ids: tuple[str, ...], birthdate: str) -> re.Pattern[str] | None:
    """Kept for the patients seen last: to compile it takes longer than to read the rest of a message."""
    patterns = [*_name_patterns(names), *_id_patterns(ids), *_date_patterns(birthdate)]
    if not patterns:
        return None
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(sorted(patterns, key=len, reverse=True))})(?![^\W_])", re.IGNORECASE)


def _name_patterns(names: Iterable[str]) -> set[str]:
    parts = {part for name in names for part in _NAME_PARTS.split(unicodedata.normalize("NFC", name)) if len(part.strip(".")) > 1}
    return {_any_spelling(part.strip(".")) for part in parts if any(letter.isalpha() for letter in part)}


def _any_spelling(name: str) -> str:
    """Müller is also Mueller and Muller, and the other way round."""
    pattern, place = "", 0
    lower = name.lower()
    while place < len(lower):
        pair = lower[place : place + 2]
        if pair in _BACK:
            pattern += f"(?:{re.escape(pair)}|{_BACK[pair]})"
            place += 2
            continue
        pattern += _letter(lower[place])
        place += 1
    return pattern


def _letter(letter: str) -> str:
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    choices = dict.fromkeys(choice for choice in (letter, _SPELLINGS.get(letter), plain) if choice)
    return re.escape(letter) if len(choices) == 1 else f"(?:{'|'.join(map(re.escape, choices))})"


def _id_patterns(ids: Iterable[str]) -> set[str]:
    cleaned = {identifier.strip() for identifier in ids}
    return {re.escape(identifier) for identifier in cleaned if len(identifier) > 2 or (len(identifier) == 2 and not identifier.isdigit())}


def _date_patterns(birthdate: str) -> set[str]:
    match = re.match(r"(\d{4})-?(\d{2})-?(\d{2})", birthdate, re.ASCII)
    if match is None or not 1 <= int(match[2]) <= 12:
        return set()
    year, month, day = match[1], int(match[2]), int(match[3])
    number = {"y": rf"(?:{year}|{year[2:]})", "m": f"0?{month}", "d": f"0?{day}"}
    separator = r"\s?[-./]\s?"
    orders = ("dmy", "mdy", "ymd")
    numeric = {separator.join(number[part] for part in order) for order in orders}
    name = f"(?:{'|'.join(re.escape(word) for word in sorted(_MONTHS[month - 1], key=len, reverse=True))})"
    words = {
        rf"{number['d']}(?:st|nd|rd|th)?[\s.\-]+{name}\.?[\s,\-]+{number['y']}",
        rf"{name}\.?\s+{number['d']}(?:st|nd|rd|th)?[\s,]+{number['y']}",
    }
    return {match[0], f"{match[1]}{match[2]}{match[3]}"} | numeric | words
