"""An HL7 v2 message as segments whose fields are read by number, whatever delimiters and line ends it came with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.adapters.hl7v2 import charsets
from pipeline.adapters.hl7v2.header import Header, read_header
from pipeline.adapters.hl7v2.refusal import Hl7Refused, malformed

SEPARATORS_MAX = 250_000
"""Delimiters in the segments we read: 5,000 OBX have 150,000. Each costs some 100 bytes of memory."""
SEGMENTS_MAX = 20_000

READ = frozenset(
    ["MSH", "EVN", "PID", "MRG", "PV1", "ORC", "OBR", "OBX", "NTE", "DG1", "TQ1", "IPC", "ZDS", "SPM", "SCH", "AIS", "AIG", "AIL", "AIP"]
)
"""Segments whose fields anything looks at. The others, Z segments included, are tolerated and only known by their names."""

_NAMES = re.compile(r"[A-Z][A-Z0-9]{2}", re.ASCII)
_BATCH_SEGMENTS = ("FHS", "BHS", "BTS", "FTS")


@dataclass(frozen=True, slots=True)
class Delimiters:
    """MSH-1 and MSH-2 (v2.8 section 2.5.4); what is left out has its usual value."""

    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str

    @classmethod
    def of(cls, header: Header) -> Delimiters:
        """From MSH-1 and MSH-2. The truncation character of v2.7 is a fifth, unused."""
        encoding = header.encoding.decode("latin-1") + "^~\\&"[len(header.encoding) :]
        return cls(header.separator.decode("latin-1"), *encoding[:4])


@dataclass(frozen=True, slots=True)
class Value:
    """One repetition of a field."""

    components: tuple[tuple[str, ...], ...] = ()

    def text(self, component: int = 1, subcomponent: int = 1) -> str:
        """Unescaped, without blanks around it; empty where absent or HL7's null (two quotation marks)."""
        try:
            found = self.components[component - 1][subcomponent - 1]
        except IndexError:
            return ""
        return "" if found == '""' else found

    def words(self) -> str:
        """All components in one line."""
        return " ".join(part for component in self.components for part in component if part and part != '""')


NOTHING = Value()


class Segment:
    """A segment. Fields count from 1, as the standard does; field 0 is its name. A field is taken apart when it is first read."""

    def __init__(self, line: str, number: int, delimiters: Delimiters) -> None:
        self._fields = _fields(line, delimiters.field)
        self._delimiters = delimiters
        self._read: dict[int, list[Value]] = {}
        self.name = line[:3]
        self.number = number
        """1 for the first segment of this name in its message."""

    def repetitions(self, field: int) -> list[Value]:
        """The repetitions of a field that are not empty."""
        known = self._read.get(field)
        if known is None:
            text = self._fields[field] if field < len(self._fields) else ""
            parts = text.split(self._delimiters.repetition) if text else ()
            known = self._read[field] = [value for value in map(self._value, parts) if value.words()]
        return known

    def value(self, field: int) -> Value:
        """The first repetition of a field."""
        repetitions = self.repetitions(field)
        return repetitions[0] if repetitions else NOTHING

    def text(self, field: int, component: int = 1, subcomponent: int = 1) -> str:
        """A component of the first repetition."""
        return self.value(field).text(component, subcomponent)

    def location(self, field: int) -> str:
        """As ERR-2 names a field."""
        return f"{self.name}^{self.number}^{field}"

    def _value(self, part: str) -> Value:
        signs = self._delimiters
        if signs.component not in part and signs.subcomponent not in part:
            return Value(((self._clean(part),),))
        components = part.split(signs.component)
        return Value(tuple(tuple(map(self._clean, component.split(signs.subcomponent))) for component in components))

    def _clean(self, text: str) -> str:
        """Without NUL, which no text has and Postgres reads in none."""
        return unescape(text, self._delimiters).replace("\0", "").strip()


def _fields(line: str, separator: str) -> list[str]:
    """MSH-1 is the separator itself (v2.8 section 2.14.9.1)."""
    name, *fields = line.split(separator)
    return [name, separator, *fields] if name == "MSH" else [name, *fields]


@dataclass(frozen=True, slots=True)
class Message:
    """header: MSH byte for byte. names: of all segments in order, also of those whose fields nobody reads."""

    header: Header
    segments: Sequence[Segment]
    names: Sequence[str]

    @property
    def msh(self) -> Segment:
        """The message header."""
        return self.segments[0]

    def all(self, *names: str) -> Iterator[Segment]:
        """The segments of these names, in order."""
        return (segment for segment in self.segments if segment.name in names)

    def first(self, name: str) -> Segment | None:
        """The first segment of this name."""
        return next(self.all(name), None)


def parse(raw: bytes, default_charset: str) -> Message:
    """Raises Refused, and nothing else, for bytes that are not one HL7 v2 message."""
    header = read_header(raw)
    if header is None:
        raise malformed("the message does not begin with an MSH segment", "MSH^1")
    text = charsets.decode(raw, _declared_charset(header), default_charset).lstrip("\ufeff \t\r\n")
    lines = _lines(text, header.separator.decode("latin-1"))
    if not lines or not lines[0].startswith("MSH"):
        raise malformed("the message does not begin with an MSH segment", "MSH^1")
    delimiters = Delimiters.of(header)
    read = [line for line in lines if line[:3] in READ]
    _check_size(read, delimiters)
    return Message(header, _segments(read, delimiters), [line[:3] for line in lines])


def split_batch(raw: bytes) -> list[bytes]:
    """The messages of a batch or file (FHS, BHS, BTS, FTS; v2.8 section 2.10.3), or the one message itself."""
    body = raw
    for bom, codec in charsets.BOMS.items():
        if raw.startswith(bom):
            if codec != "utf-8":
                return [raw]
            body = raw[len(bom) :]
    body = body.lstrip(b" \t\r\n")
    starts = [match.start() for match in re.finditer(rb"(?:\A|(?<=[\r\n]))MSH(?=[^\w\s])", body)]
    if not starts or (not body.startswith((b"FHS", b"BHS")) and len(starts) < 2):
        return [raw]
    ends = [*starts[1:], len(body)]
    return [_without_trailer(body[start:end]) for start, end in zip(starts, ends, strict=True)]


def unescape(text: str, delimiters: Delimiters) -> str:
    r"""Escape sequences of v2.8 section 2.7: delimiters, \Xhh\ and line breaks; highlighting and character set switches are dropped.

    Not the library's own, which writes what it can't read into the log and lets `\.sp999999999\` fill the memory.
    """
    if delimiters.escape not in text:
        return text
    sign = re.escape(delimiters.escape)
    return re.sub(rf"{sign}([^{sign}]{{0,200}}){sign}", lambda match: _escaped(match[1], delimiters), text)


def _escaped(code: str, delimiters: Delimiters) -> str:
    plain = {
        "F": delimiters.field,
        "S": delimiters.component,
        "R": delimiters.repetition,
        "T": delimiters.subcomponent,
        "E": delimiters.escape,
        "H": "",
        "N": "",
    }
    if code in plain:
        return plain[code]
    if re.fullmatch(r"X(?:[0-9A-Fa-f]{2})+", code):
        return _hex_text(bytes.fromhex(code[1:]))
    if code.startswith(".br") or code.startswith((".sp", ".ce")):
        return "\n"
    return " " if code.startswith((".in", ".ti", ".sk")) else ""


def _hex_text(octets: bytes) -> str:
    """The standard leaves their character set open; what is no UTF-8 is Latin-1."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _declared_charset(header: Header) -> str:
    return header.field(18).decode("latin-1").replace(header.encoding[1:2].decode("latin-1") or "~", "~")


def _lines(text: str, separator: str) -> list[str]:
    """Segments end with CR, LF or CRLF; a line feed before anything but a segment's name belongs to the text it stands in."""
    name = rf"[A-Z][A-Z0-9]{{2}}(?:{re.escape(separator)}|[\r\n]|\Z)"
    lines = (line.replace("\n", " ").strip() for line in re.split(rf"\r\n?|\n(?={name})", text))
    return [line for line in lines if _NAMES.match(line) and line[:3] not in _BATCH_SEGMENTS]


def _check_size(lines: list[str], delimiters: Delimiters) -> None:
    signs = (delimiters.field, delimiters.component, delimiters.repetition, delimiters.subcomponent, delimiters.escape)
    if len(lines) > SEGMENTS_MAX or sum(line.count(sign) for line in lines for sign in signs) > SEPARATORS_MAX:
        raise Hl7Refused("too-large", f"more than {SEGMENTS_MAX} segments or {SEPARATORS_MAX} delimiters", "207", "", "AR")


def _segments(lines: list[str], delimiters: Delimiters) -> list[Segment]:
    counts: dict[str, int] = {}
    segments = []
    for line in lines:
        number = counts[line[:3]] = counts.get(line[:3], 0) + 1
        segments.append(Segment(line, number, delimiters))
    return segments


def _without_trailer(message: bytes) -> bytes:
    return re.split(rb"(?<=[\r\n])(?:BTS|FTS|BHS|FHS)(?=[^\w]|\Z)", message, maxsplit=1)[0]
