"""Reading headers within limits."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from pipeline.adapters.dicom.bounded import Limits
from pipeline.adapters.dicom.header import read_header
from pipeline.adapters.dicom.instance import understand
from pipeline.adapters.dicom.pixels import check_pixels
from pipeline.errors import InvalidMessage, Refused
from tests.dicom_objects import as_file, ct, deflated
from tests.unit.dicom.reading import RECEIVED, SITE_KEY, ZONE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file to write into."""
    return tmp_path / "object.dcm"


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_reads_native_syntaxes(path: Path, syntax: str) -> None:
    """Texts and numbers come out the same whatever the byte order and VR encoding."""
    path.write_bytes(as_file(ct(), syntax))
    header = read_header(path)

    assert (header.transfer_syntax, header.text("PatientID"), header.number("Rows"), header.text("StudyTime")) == (
        syntax,
        "P-4711",
        8,
        "101530",
    )
    assert header.rest is not None and header.rest >= 128


def test_reads_deflated(path: Path) -> None:
    """A deflated object is read like any other."""
    path.write_bytes(deflated(ct()))
    header = read_header(path)

    assert (header.transfer_syntax, header.text("PatientName"), header.number("Columns")) == (DeflatedExplicitVRLittleEndian, "DOE^JANE", 8)


def test_deflate_bomb_is_refused_in_bounded_memory(path: Path) -> None:
    """300 kB that become 300 MiB are refused, and never take more than the header's budget."""
    path.write_bytes(deflated(ct(PixelData=None), padding=300 << 20))
    assert path.stat().st_size < 400_000
    tracemalloc.start()
    with pytest.raises(Refused, match="too-large"):
        read_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 24 << 20


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_cut_deflate_stream_is_refused(path: Path, cut: int) -> None:
    """A stream without its end is malformed."""
    path.write_bytes(deflated(ct())[:-cut])
    with pytest.raises(Refused, match="malformed"):
        read_header(path)


def test_missing_preamble_is_refused(path: Path) -> None:
    """Part 10 begins with 128 bytes and DICM."""
    path.write_bytes(as_file(ct())[132:])
    with pytest.raises(Refused, match="DICM"):
        read_header(path)


@pytest.mark.parametrize("length", [0, 1, 131, 132, 140, 200])
def test_stumps_are_refused(path: Path, length: int) -> None:
    """The first bytes of an object are no object."""
    path.write_bytes(as_file(ct())[:length])
    with pytest.raises(Refused):
        read_header(path)


@pytest.mark.parametrize("keyword", ["PatientID", "InstitutionAddress"])
def test_an_element_longer_than_the_file_is_refused(path: Path, keyword: str) -> None:
    """A length that lies is found out, on elements that we read and on those that we skip."""
    body = as_file(ct(InstitutionAddress="here"), ImplicitVRLittleEndian)
    tag = {"PatientID": b"\x10\x00\x20\x00", "InstitutionAddress": b"\x08\x00\x81\x00"}[keyword]
    place = body.index(tag) + 4
    path.write_bytes(body[:place] + struct.pack("<L", 0xFFFFFF00) + body[place + 4 :])
    with pytest.raises(Refused, match="claims more bytes"):
        read_header(path)


def test_an_element_larger_than_the_budget_is_refused(path: Path) -> None:
    """What is there, but too long for a header, is not read into memory."""
    dataset = ct()
    dataset.add_new("StudyDescription", "LT", "x" * 200_000)
    path.write_bytes(as_file(dataset, ImplicitVRLittleEndian))
    with pytest.raises(Refused, match="too-large"):
        read_header(path, Limits(header_bytes=100_000))


def _nested(depth: int, undefined: bool) -> Dataset:
    inner = Dataset()
    for _ in range(depth):
        outer = Dataset()
        outer.RequestAttributesSequence = [inner]
        outer["RequestAttributesSequence"].is_undefined_length = undefined
        inner.is_undefined_length_sequence_item = undefined
        inner = outer
    return inner


@pytest.mark.parametrize("undefined", [True, False])
def test_recursive_sequences_are_survived(path: Path, undefined: bool) -> None:
    """A thousand sequences within each other are refused or left alone; reading on works."""
    item = b"\xfe\xff\x00\xe0" + b"\xff" * 4 if undefined else b""
    if undefined:
        nest = (b"\x40\x00\x75\x02SQ\0\0" + b"\xff" * 4 + item) * 5000
        body = as_file(ct(PixelData=None, Rows=None))
        path.write_bytes(body + nest)
        with pytest.raises(Refused, match="nested too deeply"):
            read_header(path)
    else:
        dataset = ct()
        dataset.update(_nested(60, undefined=False))
        path.write_bytes(as_file(dataset))
        assert len(read_header(path).items("RequestAttributesSequence")) == 1


def test_wide_sequences_are_limited(path: Path) -> None:
    """A million elements are not made into a million Python objects."""
    empty_items = (b"\xfe\xff\x00\xe0" + bytes(4)) * 200_000
    element = b"\x09\x00\x10\x10SQ\0\0" + b"\xff" * 4 + empty_items + b"\xfe\xff\xdd\xe0" + bytes(4)
    body = as_file(ct(AccessionNumber=None, Modality=None))
    place = body.index(b"\x10\x00\x10\x00PN")
    path.write_bytes(body[:place] + element + body[place:])
    with pytest.raises(Refused, match="too many elements"):
        read_header(path)


def test_long_sequences_are_not_looked_into(path: Path) -> None:
    """A sequence of defined length beyond the limit says nothing; the object is still read."""
    item = Dataset()
    item.CodeMeaning = "chest"
    path.write_bytes(as_file(ct(AnatomicRegionSequence=[item] * 200)))

    assert read_header(path, Limits(sequence_bytes=1000)).items("AnatomicRegionSequence") == []
    assert len(read_header(path).items("AnatomicRegionSequence")) == 200


@pytest.mark.parametrize(
    ("elements", "why"),
    [
        ({"Rows": 60000, "Columns": 60000}, "too-large"),
        ({"Rows": 512, "Columns": 512}, "malformed"),
        ({"NumberOfFrames": 100000}, "malformed"),
        ({"NumberOfFrames": 2}, "malformed"),
    ],
)
def test_pixels_that_cannot_be_there_are_refused(path: Path, elements: dict[str, int], why: str) -> None:
    """rows x columns x frames is held against the bytes that came."""
    path.write_bytes(as_file(ct(**elements)))
    with pytest.raises(Refused, match=why):
        check_pixels(read_header(path))


def test_compressed_pixels_may_be_smaller_than_claimed(path: Path) -> None:
    """An encapsulated syntax says nothing about the size of its bytes."""
    body = as_file(ct(Rows=512, Columns=512))
    path.write_bytes(body.replace(ExplicitVRLittleEndian.encode() + b"\0", JPEGBaseline8Bit.ljust(20, "\0").encode()[:20]))
    header = read_header(path)
    check_pixels(header)


def test_vr_and_character_set_faults_do_not_raise(path: Path) -> None:
    """A name in an unknown character set is kept for the vault and marked."""
    body = as_file(ct(SpecificCharacterSet="ISO_IR 100", PatientName="MÜLLER^JANE"))
    path.write_bytes(body.replace(b"ISO_IR 100", b"ISO_IR 999"))
    header = read_header(path)

    assert header.damaged
    assert header.text("PatientName") == "MÜLLER^JANE"


def test_an_empty_element_of_an_unknown_representation_says_nothing(path: Path) -> None:
    """pydicom gives an empty element converted, and cannot convert this one."""
    body = as_file(ct(AccessionNumber=""))
    empty = b"\x08\x00\x50\x00SH\x00\x00"
    assert body.count(empty) == 1
    path.write_bytes(body.replace(empty, b"\x08\x00\x50\x00S\\\x00\x00"))

    assert read_header(path).text("AccessionNumber") is None


BODY = as_file(ct(RequestAttributesSequence=[ct(PixelData=None)], SpecificCharacterSet="ISO 2022 IR 87"))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    base=st.sampled_from([BODY, as_file(ct(), ImplicitVRLittleEndian), deflated(ct())]),
    edits=st.lists(st.tuples(st.integers(132, 1100), st.binary(min_size=1, max_size=6)), max_size=6),
    cut=st.integers(0, 400),
)
def test_mutations_are_understood_or_refused(path: Path, base: bytes, edits: list[tuple[int, bytes]], cut: int) -> None:
    """Whatever bytes are changed, the outcome is an instance or a refusal."""
    body = bytearray(base)
    for place, change in edits:
        body[place : place + len(change)] = change
    path.write_bytes(bytes(body[: len(body) - cut]))
    try:
        understand(read_header(path), None, SITE_KEY, "HOSP", ZONE, RECEIVED)
    except InvalidMessage as error:
        assert error.explanation


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=600))
def test_noise_behind_the_prefix_is_understood_or_refused(path: Path, noise: bytes) -> None:
    """Bytes that only begin like DICOM, too."""
    path.write_bytes(BODY[:340] + noise)
    try:
        understand(read_header(path), None, SITE_KEY, "HOSP", ZONE, RECEIVED)
    except InvalidMessage as error:
        assert error.explanation
