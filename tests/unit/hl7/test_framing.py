"""MLLP frames out of whatever the network brings (numbers: the checks of HL7's MLLP, as a receiver should pass them)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.gateways.hl7.framing import HEAD_KEPT, Frame, Framer, framed


def fed(chunks: list[bytes], limit: int = 1000) -> tuple[list[Frame], Framer]:
    framer = Framer(limit)
    return [frame for chunk in chunks for frame in framer.feed(chunk)], framer


def test_bytewise_delivery_is_one_frame() -> None:
    """1: one byte at a time."""
    frames, _ = fed([bytes([byte]) for byte in framed(b"MSH|a\rPID|b\r")])
    assert frames == [Frame(b"MSH|a\rPID|b\r")]


def test_split_between_the_two_end_bytes() -> None:
    """2: 0x1C in one packet, 0x0D in the next."""
    frames, _ = fed([b"\x0bMSH\x1c", b"\x0d"])
    assert frames == [Frame(b"MSH")]


def test_three_frames_in_one_write_stay_in_order() -> None:
    """3: pipelined frames."""
    frames, _ = fed([framed(b"1") + framed(b"2") + framed(b"3")])
    assert [frame.data for frame in frames] == [b"1", b"2", b"3"]


def test_noise_around_frames_is_ignored_and_counted() -> None:
    """4: bytes outside frames; line ends are no noise."""
    frames, framer = fed([b"hello" + framed(b"1") + b"\r\n" + framed(b"2") + b"xy"])
    assert [frame.data for frame in frames] == [b"1", b"2"]
    assert framer.counts["noise-bytes"] == 7


def test_a_missing_return_does_not_glue_two_messages() -> None:
    """5: 0x1C without 0x0D, then a new frame: only the second is a message, the first was never whole."""
    frames, framer = fed([b"\x0bfirst\x1c" + framed(b"second")])
    assert frames == [Frame(b"second")]
    assert framer.counts["restarted"] == 1


def test_a_second_start_byte_restarts_the_frame() -> None:
    """5: no end at all before the next start."""
    frames, framer = fed([b"\x0bfirst", b"\x0bsecond\x1c\x0d"])
    assert frames == [Frame(b"second")]
    assert framer.counts["restarted"] == 1


def test_an_end_byte_inside_the_data_is_a_fault() -> None:
    """6: the frame comes out, marked, so that it can be answered."""
    frames, _ = fed([b"\x0bab\x1ccd\x1c\x0d" + framed(b"next")])
    assert frames == [Frame(b"ab\x1ccd", "stray-end"), Frame(b"next")]


def test_an_empty_frame_is_a_frame() -> None:
    """7: start and end with nothing between."""
    frames, _ = fed([framed(b"")])
    assert frames == [Frame(b"")]


def test_a_frame_over_the_limit_is_cut_and_nothing_more_is_read() -> None:
    """9: memory stays bounded; the head is kept for the answer."""
    frames, framer = fed([b"\x0bMSH|" + b"x" * 6000] + [b"y" * 6000] * 50, limit=5000)
    assert [frame.fault for frame in frames] == ["too-large"]
    assert len(frames[0].data) == HEAD_KEPT
    assert framer.feed(framed(b"z")) == []


@given(st.lists(st.binary(max_size=30).filter(lambda data: not {0x0B, 0x1C} & set(data)), max_size=6), st.data())
def test_any_split_of_the_stream_gives_the_same_frames(messages: list[bytes], data: st.DataObject) -> None:
    """Where packets are cut makes no difference."""
    stream = b"".join(framed(message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    frames, framer = fed(chunks)
    assert [frame.data for frame in frames] == messages
    assert not framer.inside


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_no_bytes_can_break_the_framer(chunks: list[bytes]) -> None:
    """Memory never exceeds the limit by more than one chunk, and nothing raises."""
    framer = Framer(40)
    for chunk in chunks:
        assert all(len(frame.data) <= 60 for frame in framer.feed(chunk))
