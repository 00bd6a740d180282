"""The MLLP server on a real socket, against a scripted peer (numbers: the MLLP checks that a receiver has to pass)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import hl7
import pytest

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.hl7v2 import acknowledgement
from pipeline.adapters.hl7v2.client import MllpClient
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.receipts import MemoryReceipts
from pipeline.adapters.memory.vault import MemoryVault
from pipeline.errors import StackError, Unavailable
from pipeline.gateways.hl7.framing import framed
from pipeline.gateways.hl7.server import MllpServer
from pipeline.ports import Record
from pipeline.services.intake import Intake
from pipeline.settings import Gateways
from schemas.topics import ADT
from tests.certificates import self_signed

KEY = b"k" * 32
WITHIN_S = 60
"""A busy machine is no fault of the server's."""


class GatedLog(MemoryEventLog):
    """Holds every append until `gate` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0

    async def append(self, records: list[Record]) -> None:  # type: ignore[override]
        self.waiting += 1
        await self.gate.wait()
        await super().append(records)


class Hospital:
    """A server with in-memory stores, and peers that talk to it."""

    def __init__(self, **settings: object) -> None:
        self.settings = Gateways(mllp_port=0, **settings)  # type: ignore[arg-type]
        self.log = GatedLog()
        self.receipts = MemoryReceipts()
        clock = SystemClock()
        self.intake = Intake(self.log, self.receipts, MemoryVault(clock), clock)
        self.server = MllpServer(self.settings, self.intake, KEY, clock)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.server.port)

    async def exchange(self, *chunks: bytes, answers: int = 1) -> list[bytes]:
        """Sends the chunks one by one and reads so many answers, which are all there are."""
        reader, writer = await self.connect()
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0.005)
        found = [await answer(reader) for _ in range(answers)]
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), WITHIN_S) == b""
        writer.close()
        return found

    @property
    def stored(self) -> int:
        return len(self.log.records(ADT))


Open = Callable[..., Awaitable[Hospital]]


@pytest.fixture
async def hospital() -> AsyncIterator[Open]:
    """Starts servers with the settings given, and stops them."""
    started: list[Hospital] = []

    async def start(**settings: object) -> Hospital:
        one = Hospital(**settings)
        await one.server.start()
        started.append(one)
        return one

    yield start
    for one in started:
        one.log.gate.set()
        await one.server.stop(grace_s=2)


def adt(
    control_id: str = "0001", trigger: str = "A01", version: str = "2.5.1", mode: str = "|", patient: str = "P1", more: str = ""
) -> bytes:
    return (
        f"MSH|^~\\&|KIS|HOSP|READFIRST|RAD|20261124100000+0100||ADT^{trigger}|{control_id}|P|{version}|||{mode}||UNICODE UTF-8\r"
        f"EVN|{trigger}|20261124\rPID|1||{patient}^^^HOSP^MR||Müller\rPV1|1|I|ICU\r{more}"
    ).encode()


async def answer(reader: asyncio.StreamReader) -> bytes:
    frame = await asyncio.wait_for(reader.readuntil(b"\x1c\x0d"), WITHIN_S)
    assert frame.startswith(b"\x0b")
    return frame[1:-2]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for on the other side of a socket
            await asyncio.sleep(0.01)


def code(raw: bytes) -> str:
    return str(hl7.parse(raw.decode()).segment("MSA")[1])


def control_id(raw: bytes) -> str:
    return str(hl7.parse(raw.decode()).segment("MSA")[2])


async def test_1_one_byte_at_a_time(hospital: Open) -> None:
    """Bytewise delivery: one acknowledgement."""
    one = await hospital()
    (got,) = await one.exchange(*[bytes([byte]) for byte in framed(adt())])
    assert (code(got), one.stored) == ("AA", 1)


async def test_2_split_between_the_end_bytes(hospital: Open) -> None:
    """0x1C and 0x0D in two packets: one acknowledgement."""
    one = await hospital()
    frame = framed(adt())
    assert [code(got) for got in await one.exchange(frame[:-1], frame[-1:])] == ["AA"]


async def test_3_three_frames_in_one_write_are_answered_in_order(hospital: Open) -> None:
    """Pipelined messages."""
    one = await hospital()
    got = await one.exchange(b"".join(framed(adt(number, patient=number)) for number in ("1", "2", "3")), answers=3)
    assert [control_id(raw) for raw in got] == ["1", "2", "3"]


async def test_4_noise_is_ignored_and_counted(hospital: Open) -> None:
    """Bytes outside of frames."""
    one = await hospital()
    await one.exchange(b"noise" + framed(adt()) + b"more")
    assert one.server.counts["noise-bytes"] == 9


async def test_5_a_missing_return_glues_nothing(hospital: Open) -> None:
    """The unfinished message is not acknowledged, the next one is."""
    one = await hospital()
    (got,) = await one.exchange(b"\x0b" + adt("lost") + b"\x1c" + framed(adt("whole")))
    assert (control_id(got), one.stored, one.server.counts["restarted"]) == ("whole", 1, 1)


async def test_6_an_end_byte_inside_is_refused(hospital: Open) -> None:
    """0x1C is no data."""
    one = await hospital()
    (got,) = await one.exchange(framed(adt(more="NTE|1||a\x1cb\r")))
    assert (code(got), control_id(got), one.stored) == ("AR", "0001", 0)


@pytest.mark.parametrize("data", [b"", b"PID|1||2\r", b"GET / HTTP/1.1"])
async def test_7_8_no_message_no_guess(hospital: Open, data: bytes) -> None:
    """An empty frame, or one without MSH: refused, with nothing in MSA-2."""
    one = await hospital()
    (got,) = await one.exchange(framed(data))
    assert code(got) == "AR"
    assert got.split(b"\r")[1].split(b"|")[2] == b""


async def test_9_a_frame_over_the_limit_is_refused_and_the_connection_closed(hospital: Open) -> None:
    """50 MB at a port that takes 1 MB; the id of the message is still echoed."""
    one = await hospital(mllp_message_max_bytes=1 << 20)
    reader, writer = await one.connect()
    writer.write(b"\x0b" + adt("big"))
    for _ in range(50):
        writer.write(b"x" * (1 << 20))
        await writer.drain()
    writer.write(b"\x1c\x0d")
    got = await answer(reader)
    assert (code(got), control_id(got)) == ("AR", "big")
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), WITHIN_S) == b""
    writer.close()
    assert one.intake.outcomes["refused", "too-large"] == 1


async def test_10_a_slow_sender_does_not_keep_a_connection(hospital: Open) -> None:
    """A byte now and then does not stop the clock of an unfinished message."""
    one = await hospital(mllp_idle_timeout_s=0.4)
    reader, writer = await one.connect()
    started = asyncio.get_running_loop().time()
    closed = asyncio.create_task(reader.read())
    for byte in framed(adt()):
        if closed.done():
            break
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)
    assert await closed == b"", "it was closed before the message was whole"
    assert asyncio.get_running_loop().time() - started > 0.3
    assert (one.server.counts["idle-closed"], one.server.counts["truncated"]) == (1, 1)
    writer.close()


async def test_10_noise_does_not_keep_a_connection_either(hospital: Open) -> None:
    """Bytes outside of frames count for nothing."""
    one = await hospital(mllp_idle_timeout_s=0.3)
    reader, writer = await one.connect()
    closed = asyncio.create_task(reader.read())
    for _ in range(40):
        if closed.done():
            break
        writer.write(b".")
        await asyncio.sleep(0.05)
    assert closed.done()
    writer.close()


async def test_11_a_peer_has_so_many_connections_and_no_more(hospital: Open) -> None:
    """Those over the limit are closed at once; the others go on, and a free place is used again."""
    one = await hospital(mllp_connections_per_peer_max=5)
    held = [await one.connect() for _ in range(5)]
    await until(lambda: one.server.connections == 5)
    reader, writer = await one.connect()
    with pytest.raises((ConnectionError, AssertionError, asyncio.IncompleteReadError)):
        writer.write(framed(adt()))
        assert await answer(reader)
    assert one.server.counts["over-connection-limit"] == 1
    held[0][1].write(framed(adt()))
    assert code(await answer(held[0][0])) == "AA"
    held[0][1].close()
    await until(lambda: one.server.connections == 4)
    assert [code(got) for got in await one.exchange(framed(adt("again")))] == ["AA"]
    for _, other in (*held, (reader, writer)):
        other.close()


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
async def test_12_line_ends_are_read_in_any_form_and_sent_as_cr(hospital: Open, end: str) -> None:
    """Only CR goes out."""
    one = await hospital()
    (got,) = await one.exchange(framed(adt().replace(b"\r", end.encode())))
    assert code(got) == "AA" and b"\n" not in got and got.endswith(b"\r")


async def test_13_custom_delimiters_are_those_of_the_answer(hospital: Open) -> None:
    """MSH|$%~\\ : the answer is written with the sender's own."""
    one = await hospital()
    (got,) = await one.exchange(framed(b"MSH|$%~\\|KIS|HOSP|RF|RAD|20261124||ADT$A01|7|P|2.5\rPID|1||P1$$$HOSP$MR\r"))
    assert got.startswith(b"MSH|$%~\\|RF|RAD|KIS|HOSP|")
    assert b"|ACK$A01$ACK|" in got and b"MSA|AA|7\r" in got


async def test_14_an_undecodable_byte_is_refused_with_its_place(hospital: Open) -> None:
    """Latin-1 where UTF-8 is declared."""
    one = await hospital()
    (got,) = await one.exchange(framed(adt().decode().encode("latin-1")))
    assert code(got) == "AE" and b"ERR||MSH^1^18|102^Data type error^HL70357|E" in got
    assert one.stored == 0


async def test_15_a_byte_order_mark(hospital: Open) -> None:
    """UTF-8's mark before MSH."""
    one = await hospital()
    (got,) = await one.exchange(framed(b"\xef\xbb\xbf" + adt()))
    assert (code(got), control_id(got)) == ("AA", "0001")


async def test_16_what_is_not_taken_is_rejected_with_its_code(hospital: Open) -> None:
    """ERR-3: 200 type, 201 event, 202 processing id, 203 version."""
    one = await hospital(hl7_processing_ids=["P"])
    for raw, condition in (
        (adt().replace(b"ADT^A01|", b"MDM^T02|"), b"200^Unsupported message type^HL70357"),
        (adt().replace(b"ADT^A01|", b"ADT^Z99|"), b"201^Unsupported event code^HL70357"),
        (adt().replace(b"|P|2.5.1", b"|T|2.5.1"), b"202^Unsupported processing id^HL70357"),
        (adt(version="2.99"), b"203^Unsupported version id^HL70357"),
    ):
        (got,) = await one.exchange(framed(raw))
        assert code(got) == "AR" and condition in got


async def test_17_what_is_missing_is_an_error_with_its_place(hospital: Open) -> None:
    """Segment 100, field 101."""
    one = await hospital()
    (got,) = await one.exchange(framed(adt(patient="").replace(b"^^^HOSP^MR", b"")))
    assert code(got) == "AE" and b"ERR||PID^1^3|101^Required field missing^HL70357|E" in got
    (got,) = await one.exchange(framed(adt("2").split(b"EVN")[0]))
    assert code(got) == "AE" and b"ERR||PID^1|100^Segment sequence error^HL70357|E" in got


async def test_17_before_2_5_there_is_no_err(hospital: Open) -> None:
    """The reason stands in MSA-3."""
    one = await hospital()
    (got,) = await one.exchange(framed(adt(version="2.3", trigger="A40")))
    assert b"ERR" not in got and b"MSA|AE|0001|malformed: the message has no MRG segment" in got


async def test_18_the_answer_comes_after_the_commit(hospital: Open) -> None:
    """As long as the log has not said yes, the sender hears nothing."""
    one = await hospital()
    one.log.gate.clear()
    reader, writer = await one.connect()
    writer.write(framed(adt()))
    waiting = asyncio.create_task(answer(reader))
    await until(lambda: one.log.waiting == 1)
    await asyncio.sleep(0.2)
    assert not waiting.done()
    one.log.gate.set()
    assert code(await waiting) == "AA"
    writer.close()


@pytest.mark.parametrize(
    ("mode", "bad", "expected"),
    [
        ("AL|NE", False, ["CA"]),
        ("AL|AL", False, ["CA", "AA"]),
        ("NE|AL", False, ["AA"]),
        ("NE|NE", False, []),
        ("ER|AL", False, ["AA"]),
        ("SU|ER", False, ["CA"]),
        ("AL|AL", True, ["CR"]),
        ("NE|AL", True, ["AR"]),
        ("SU|AL", True, ["AR"]),
        ("ER|NE", True, ["CR"]),
    ],
)
async def test_18_enhanced_mode(hospital: Open, mode: str, bad: bool, expected: list[str]) -> None:
    """MSH-15 and MSH-16 (table 0155): commit and application answers, each when asked for."""
    one = await hospital()
    got = await one.exchange(framed(adt(mode=mode, version="9.9" if bad else "2.5.1")), answers=len(expected))
    assert [code(raw) for raw in got] == expected


async def test_19_the_answer_echoes_byte_for_byte(hospital: Open) -> None:
    """MSA-2 with its zeros, sides changed, MSH-11, 12 and 18 as they came, read by another parser."""
    one = await hospital()
    (got,) = await one.exchange(framed(adt("000Ä42")))
    parsed = hl7.parse(got.decode())
    msh = parsed.segment("MSH")
    assert [str(msh[number]) for number in (3, 4, 5, 6, 9, 11, 12, 18)] == [
        "READFIRST",
        "RAD",
        "KIS",
        "HOSP",
        "ACK^A01^ACK",
        "P",
        "2.5.1",
        "UNICODE UTF-8",
    ]
    assert str(parsed.segment("MSA")[2]) == "000Ä42"
    assert 0 < len(str(msh[10])) <= 20


async def test_20_the_same_message_again_changes_nothing(hospital: Open) -> None:
    """Same MSH-10, same bytes: AA again, no new event."""
    one = await hospital()
    first, second = await one.exchange(framed(adt()), framed(adt()), answers=2)
    assert (code(first), code(second), one.stored) == ("AA", "AA", 1)
    assert acknowledgement.read(second)[0].outcome == "ignored"
    assert one.intake.outcomes["ignored", "duplicate"] == 1


async def test_20_the_same_id_with_other_bytes_is_another_message(hospital: Open) -> None:
    """Processed, and counted from 0 on: an alert asks for the increase."""
    one = await hospital()
    assert one.server.counts == {"control-id-reused": 0}
    await one.exchange(framed(adt()), framed(adt(patient="P2")), answers=2)
    assert (one.stored, one.server.counts["control-id-reused"]) == (2, 1)


async def test_21_a_peer_that_does_not_wait_loses_nothing(hospital: Open) -> None:
    """It closes right after sending: the message is kept."""
    one = await hospital()
    _, writer = await one.connect()
    writer.write(framed(adt()))
    await writer.drain()
    writer.close()
    await until(lambda: one.stored == 1)


async def test_21_half_a_message_is_nothing(hospital: Open) -> None:
    """No end block, and the peer is gone: nothing is stored, and it is counted."""
    one = await hospital()
    reader, writer = await one.connect()
    writer.write(framed(adt())[:-2])
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), WITHIN_S) == b""
    writer.close()

    assert (one.stored, one.server.counts["truncated"]) == (0, 1)


async def test_22_a_broker_that_is_down_means_try_again(hospital: Open) -> None:
    """AE with 207, no AA; the same message later is stored once, marked as a possible redelivery."""
    one = await hospital()
    one.log.fail_next(1, written=1)
    (got,) = await one.exchange(framed(adt()))
    said = acknowledgement.read(got)[0]
    assert (said.code, said.error_code, said.try_again) == ("AE", "207", True)
    (got,) = await one.exchange(framed(adt()))
    assert code(got) == "AA"
    first, again = one.log.records(ADT)
    assert first.headers["event_id"] == again.headers["event_id"] and again.headers["redelivery"] == "1"


async def test_22_a_fault_of_ours_is_no_success(hospital: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks inside: AE 207, and the connection lives."""
    one = await hospital()

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(one.server.reader, "read", broken)
    first, second = await one.exchange(framed(adt()) * 2, answers=2)
    assert code(first) == code(second) == "AE" and one.server.counts["failed"] == 2


async def test_23_z_segments(hospital: Open) -> None:
    """Tolerated."""
    one = await hospital()
    assert [code(got) for got in await one.exchange(framed(adt(more="ZPD|1|secret\rQQQ|x\r")))] == ["AA"]


async def test_25_a_batch_is_answered_as_a_batch(hospital: Open) -> None:
    """Each message has its own verdict."""
    one = await hospital()
    batch = (
        b"FHS|^~\\&|A\rBHS|^~\\&|A\r"
        + adt("1")
        + adt("2", patient="").replace(b"^^^HOSP^MR", b"")
        + adt("3", patient="P3")
        + b"BTS|3\rFTS|1\r"
    )
    (got,) = await one.exchange(framed(batch))
    assert [(said.control_id, said.code) for said in acknowledgement.read(got)] == [("1", "AA"), ("2", "AE"), ("3", "AA")]
    assert one.stored == 2


async def test_26_tls(hospital: Open, tmp_path: Path) -> None:
    """The same over TLS; a plain-text peer gets nothing, and harms nobody."""
    certificate, key = self_signed(tmp_path)
    one = await hospital(mllp_tls_certificate=certificate, mllp_tls_key=key)
    context = ssl.create_default_context(cafile=str(certificate))
    _, plain = await one.connect()
    plain.write(framed(adt("plain")))
    async with MllpClient("localhost", one.server.port, tls=context) as client:
        assert code(await client.send(adt())) == "AA"
    plain.close()
    assert one.stored == 1


async def test_ignored_messages_say_so(hospital: Open) -> None:
    """AA, with the reason in MSA-3."""
    one = await hospital()
    (got,) = await one.exchange(framed(adt(trigger="A31")))
    said = acknowledgement.read(got)[0]
    assert (said.outcome, said.text) == ("ignored", "ignored: event-not-used")
    assert one.intake.outcomes["ignored", "event-not-used"] == 1


async def test_many_senders_at_once(hospital: Open) -> None:
    """Each connection gets its own answers; everything is stored once."""
    one = await hospital()

    async def sender(name: int) -> list[str]:
        async with MllpClient("127.0.0.1", one.server.port) as client:
            return [control_id(await client.send(adt(f"{name}-{n}", patient=f"P{name}"))) for n in range(20)]

    got = await asyncio.gather(*(sender(name) for name in range(20)))
    assert got == [[f"{name}-{n}" for n in range(20)] for name in range(20)]
    assert one.stored == 400


async def test_stopping_finishes_what_was_begun(hospital: Open) -> None:
    """The message under way is stored and answered; idle connections are closed; nothing new is taken."""
    one = await hospital()
    idle_reader, idle_writer = await one.connect()
    one.log.gate.clear()
    reader, writer = await one.connect()
    writer.write(framed(adt()))
    await until(lambda: one.log.waiting == 1)
    port = one.server.port
    stopping = asyncio.create_task(one.server.stop())
    assert await asyncio.wait_for(idle_reader.read(), WITHIN_S) == b""
    one.log.gate.set()
    assert code(await answer(reader)) == "AA"
    await stopping
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)
    idle_writer.close()
    writer.close()


async def test_a_taken_port_is_said_plainly(hospital: Open) -> None:
    """StackError, with what to do."""
    one = await hospital()
    other = MllpServer(Gateways(mllp_port=one.server.port), one.intake, KEY, SystemClock())
    with pytest.raises(StackError, match="cannot be opened"):
        await other.start()


async def test_the_client_knows_how_many_answers_to_wait_for(hospital: Open) -> None:
    """None for NE/NE, the second for AL/AL; a receiver that does not answer is Unavailable."""
    one = await hospital()
    async with MllpClient("127.0.0.1", one.server.port) as client:
        assert await client.send(adt("1", mode="NE|NE")) == b""
        assert code(await client.send(adt("2", mode="AL|AL"))) == "AA"
        assert code(await client.send(adt("3", mode="AL|AL", version="9.9"))) == "CR"
        assert [said.code for said in acknowledgement.read(await client.send(b"BHS|^~\\&\r" + adt("4") + adt("5") + b"BTS|2\r"))] == [
            "AA",
            "AA",
        ]
    one.log.gate.clear()
    async with MllpClient("127.0.0.1", one.server.port, timeout_s=0.2) as client:
        with pytest.raises(Unavailable):
            await client.send(adt("6"))
