"""MSH as bytes: enough to answer any frame, however broken the rest of it is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.adapters.hl7v2.charsets import BOMS

HEAD_MAX = 4096
_TERMINATOR = re.compile(rb"[\r\n]")


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of MSH byte for byte, as an acknowledgement has to give them back."""

    separator: bytes = b"|"
    encoding: bytes = b"^~\\&"
    fields: tuple[bytes, ...] = ()

    def field(self, number: int) -> bytes:
        """MSH-`number`, from 3 on; empty where there is none."""
        place = number - 3
        return self.fields[place] if 0 <= place < len(self.fields) else b""

    def text(self, number: int, component: int = 1) -> str:
        """A component of the first repetition, for comparing with code words."""
        first = self.field(number).split(self.encoding[1:2] or b"~")[0]
        parts = first.split(self.encoding[:1] or b"^")
        return parts[component - 1].decode("latin-1").strip() if component <= len(parts) else ""

    @property
    def control_id(self) -> bytes:
        """MSH-10."""
        return self.field(10)

    @property
    def version(self) -> tuple[int, ...]:
        """MSH-12 as numbers; (2, 5) where it is empty or no version."""
        match = re.fullmatch(r"(\d)\.(\d{1,2})(?:\.(\d{1,2}))?", self.text(12), re.ASCII)
        return tuple(int(part) for part in match.groups() if part) if match else (2, 5)

    @property
    def enhanced(self) -> bool:
        """Whether MSH-15 or MSH-16 ask for the enhanced acknowledgement mode (v2.8 section 2.9.3)."""
        return bool(self.field(15).strip() or self.field(16).strip())


def read_header(raw: bytes) -> Header | None:
    """None: the bytes don't begin with MSH (a byte order mark, blanks and line ends before it are forgiven)."""
    head = raw[:HEAD_MAX]
    for bom, codec in BOMS.items():
        if head.startswith(bom):
            head = head[len(bom) :]
            if codec != "utf-8":
                head = head[: len(head) // 2 * 2].decode(codec, "replace").encode("utf-8", "replace")
    head = head.lstrip(b" \t\r\n")
    line = _TERMINATOR.split(head, maxsplit=1)[0]
    if not line.startswith(b"MSH") or len(line) < 8:
        return None
    separator = line[3:4]
    if separator.isalnum() or separator in b" \x00":
        return None
    encoding, *fields = line[4:].split(separator)
    if not 1 <= len(encoding) <= 5 or len(set(encoding)) != len(encoding) or encoding.isalnum():
        return None
    return Header(separator, encoding, tuple(fields))
