"""Bytes to segments: delimiters, line ends, character sets, batches, escapes."""

from __future__ import annotations

import codecs

import pytest

from pipeline.adapters.hl7v2.message import SEGMENTS_MAX, Message, parse, split_batch
from pipeline.adapters.hl7v2.refusal import Hl7Refused
from tests.unit.hl7.messages import PID, message

ADT = message("ADT^A01", PID)


def family_name(parsed: Message) -> str:
    pid = parsed.first("PID")
    assert pid is not None
    return pid.text(5)


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_segments_end_with_cr_lf_or_both(end: bytes) -> None:
    """12: all three line ends are read."""
    assert family_name(parse(ADT.replace(b"\r", end), "utf-8")) == "Müller"


def test_a_line_feed_inside_a_text_is_part_of_it() -> None:
    """A line that begins with no segment name continues the one before."""
    parsed = parse(message("ORU^R01", PID, "OBX|1|TX|X||first line\nsecond line||||||F"), "utf-8")
    obx = parsed.first("OBX")
    assert obx is not None and obx.text(5) == "first line second line"


def test_custom_delimiters() -> None:
    """13: MSH-1 and MSH-2 say what separates."""
    raw = b"MSH|$%~\\|A|B|C|D|20260101||ADT$A01|1|P|2.5\rPID|1||P1$$$HOSP$MR||M~S~ller$A\\x\r"
    assert family_name(parse(raw, "utf-8")) == "M$ller"


@pytest.mark.parametrize(
    ("declared", "encoded"),
    [
        ("UNICODE UTF-8", "utf-8"),
        ("8859/1", "iso8859-1"),
        ("8859/15", "iso8859-15"),
        ("", "utf-8"),
        ("GB 18030-2000", "gb18030"),
        ("UNICODE", "utf-8"),
    ],
)
def test_text_is_decoded_by_msh_18(declared: str, encoded: str) -> None:
    """14: the declared set, or the site's default where there is none."""
    text = message("ADT^A01", PID, more=f"|||||{declared}").decode()
    assert family_name(parse(text.encode(encoded), "utf-8")) == "Müller"


def test_japanese_by_escape_sequences() -> None:
    """14: ASCII with ISO IR87 as the second set (ISO 2022)."""
    text = message("ADT^A01", "PID|1||P1||山田^太郎", more="|||||ASCII~ISO IR87").decode()
    assert family_name(parse(text.encode("iso2022_jp"), "utf-8")) == "山田"


@pytest.mark.parametrize("declared", ["UNICODE UTF-8", "", "ASCII"])
def test_an_undecodable_byte_is_refused(declared: str) -> None:
    """14: never a replacement character in a name."""
    raw = message("ADT^A01", PID, more=f"|||||{declared}").decode().encode("iso8859-1")
    with pytest.raises(Hl7Refused) as refused:
        parse(raw, "utf-8")
    assert (refused.value.reason, refused.value.code, refused.value.location) == ("undecodable-text", "102", "MSH^1^18")


def test_an_unknown_character_set_is_refused() -> None:
    """14: table value not found."""
    with pytest.raises(Hl7Refused) as refused:
        parse(message("ADT^A01", PID, more="|||||KLINGON"), "utf-8")
    assert (refused.value.reason, refused.value.code) == ("undecodable-text", "103")


@pytest.mark.parametrize(
    ("bom", "encoded"), [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")]
)
def test_a_byte_order_mark_is_forgiven(bom: bytes, encoded: str) -> None:
    """15: and it decides the encoding."""
    assert family_name(parse(bom + ADT.decode().encode(encoded), "utf-8")) == "Müller"


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [
        (r"a\F\b", "a|b"),
        (r"a\S\b\T\c\R\d\E\e", "a^b&c~d\\e"),
        (r"a\X0A\b", "a\nb"),
        (r"M\XC3BC\ller", "Müller"),
        (r"M\XFC\ller", "Müller"),
        (r"a\.br\b", "a\nb"),
        (r"\H\bold\N\ text", "bold text"),
        (r"a\.sp999999999999\b", "a\nb"),
        (r"a\Zzz\b", "ab"),
        ("a\\b", "a\\b"),
        (r"a\X00\b" + "\0c", "abc"),
    ],
)
def test_escape_sequences(escaped: str, plain: str) -> None:
    r"""v2.8 section 2.7; a sequence that asks for a billion blank lines gets one."""
    parsed = parse(message("ORU^R01", PID, f"OBX|1|TX|X||{escaped}||||||F"), "utf-8")
    obx = parsed.first("OBX")
    assert obx is not None and obx.text(5) == plain


def test_null_is_empty() -> None:
    """Two quotation marks say: nothing."""
    parsed = parse(message("ADT^A01", 'PID|1||""^^^X||""'), "utf-8")
    pid = parsed.first("PID")
    assert pid is not None and (pid.text(3), pid.text(5)) == ("", "")


def test_z_segments_and_unknown_ones_are_tolerated() -> None:
    """23: they are known by name only."""
    parsed = parse(message("ADT^A01", PID, "ZZZ|1|x", "QQ1|y"), "utf-8")
    assert list(parsed.names) == ["MSH", "PID", "ZZZ", "QQ1"]


@pytest.mark.parametrize("raw", [b"", b"MSH", b"MSH|", b"PID|1||2\r", b"MSHA^~\\&AX", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100])
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    """8: no MSH, no message."""
    with pytest.raises(Hl7Refused) as refused:
        parse(raw, "utf-8")
    assert (refused.value.reason, refused.value.answer) == ("malformed", "AR")


@pytest.mark.parametrize("filler", [b"OBX\r" * (SEGMENTS_MAX + 1), b"OBX" + b"|" * 300_000, b"OBX|1|TX|||" + b"a&" * 300_000])
def test_a_message_of_delimiters_is_too_large(filler: bytes) -> None:
    """Few bytes can ask for much memory: segments and delimiters are counted before anything is parsed."""
    with pytest.raises(Hl7Refused) as refused:
        parse(ADT + filler, "utf-8")
    assert refused.value.reason == "too-large"


def test_a_batch_file_is_its_messages() -> None:
    """25: FHS, BHS, BTS, FTS around several messages."""
    one, two = message("ADT^A01", PID, control_id="1"), message("ADT^A03", PID, control_id="2")
    batch = b"FHS|^~\\&|A\rBHS|^~\\&|A\r" + one + two + b"BTS|2\rFTS|1\r"
    assert split_batch(batch) == [one, two]
    assert split_batch(one) == [one]
    assert split_batch(one + two) == [one, two]
