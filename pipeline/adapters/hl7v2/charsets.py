"""Bytes to text by MSH-18 (HL7 table 0211): every byte is understood, or the message is refused."""

from __future__ import annotations

import codecs

from pipeline.adapters.hl7v2.refusal import Hl7Refused, wrong_type

BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

_CODECS = {
    "ASCII": "ascii",
    "ISO IR6": "ascii",
    **{f"8859/{part}": f"iso8859-{part}" for part in range(1, 17) if part != 12},
    **{f"ISO-8859-{part}": f"iso8859-{part}" for part in range(1, 17) if part != 12},
    "ISO IR14": "iso2022_jp_ext",
    "ISO IR13": "shift_jis",
    "ISO IR87": "iso2022_jp_ext",
    "ISO IR159": "iso2022_jp_ext",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "UNICODE UTF-16": "utf-16",
    "UNICODE UTF-32": "utf-32",
    "WINDOWS-1252": "cp1252",
    "CP1252": "cp1252",
}
"""Table 0211, and the spellings that senders use besides."""

_JAPANESE = {"ISO IR14", "ISO IR87", "ISO IR159"}


def decode(raw: bytes, declared: str, default: str) -> str:
    """The text of a message, without byte order mark. declared: MSH-18 with its repetitions, "" for none. default: a Python codec.

    Raises Refused: undecodable-text for a byte that the character set does not have, invalid for a set we don't know.
    """
    for bom, codec in BOMS.items():
        if raw.startswith(bom):
            return _decode(raw[len(bom) :], codec)
    return _decode(raw, _codec(declared, default))


def _codec(declared: str, default: str) -> str:
    names = [" ".join(name.strip().upper().split()) for name in declared.split("~") if name.strip()]
    if not names:
        return default
    if any(name in _JAPANESE for name in names[1:]):  # ASCII with escape sequences to the sets that follow (ISO 2022)
        return "iso2022_jp_ext"
    if names[0] not in _CODECS:
        raise Hl7Refused("undecodable-text", "the character set named in MSH-18 is not known", "103", "MSH^1^18")
    return _CODECS[names[0]]


def _decode(raw: bytes, codec: str) -> str:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError as error:
        explanation = f"byte {error.start + 1} is not a character in {codec}, which MSH-18 or the site's default names"
        refusal = wrong_type("MSH^1^18", explanation)
        refusal.reason = "undecodable-text"
        raise refusal from None
