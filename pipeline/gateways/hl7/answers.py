"""What becomes of one message, and what its sender hears: acknowledgements in original and enhanced mode."""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter, OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import structlog

from pipeline.adapters.hl7v2 import acknowledgement
from pipeline.adapters.hl7v2.acknowledgement import IGNORED, Code, Fault
from pipeline.adapters.hl7v2.header import Header, read_header
from pipeline.adapters.hl7v2.message import split_batch
from pipeline.adapters.hl7v2.reader import Ignored, Reader, origin_of
from pipeline.adapters.hl7v2.refusal import Hl7Refused, malformed
from pipeline.errors import Refused, Unavailable
from pipeline.gateways.hl7.framing import HEAD_KEPT, Frame
from pipeline.ports import Clock
from pipeline.services.intake import Intake, Origin

log = structlog.get_logger()

LARGE = 64 << 10
"""Bytes from which on a message is parsed beside the event loop."""
BATCH_MAX = 10_000
CONTROL_IDS_KEPT = 20_000

_COMMIT: dict[str, Code] = {"AA": "CA", "AE": "CE", "AR": "CR"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """code: in the words of the original mode."""

    code: Literal["AA", "AE", "AR"]
    text: str = ""
    fault: Fault | None = None


class Answerer:
    """Reads messages, hands them to the intake, and only then says so."""

    def __init__(self, reader: Reader, intake: Intake, clock: Clock, counts: Counter[str]) -> None:
        self._reader = reader
        self._intake = intake
        self._clock = clock
        self._counts = counts
        counts.setdefault("control-id-reused", 0)  # Prometheus sees the first one only where the series stood at 0 before it
        self._control_ids: OrderedDict[tuple[str, bytes], str] = OrderedDict()

    async def answer(self, frame: Frame) -> list[bytes]:
        """The frames to send back, in order; none where the sender asked for none."""
        if frame.fault is not None:
            return await self._faulty(frame)
        messages = split_batch(frame.data)
        if len(messages) < 2 and messages == [frame.data]:
            return await self._one(frame.data)
        self._counts["batches"] += 1
        if len(messages) > BATCH_MAX:
            return await self._too_large(frame.data[:HEAD_KEPT], f"a batch of more than {BATCH_MAX} messages")
        answers = [answer for message in messages for answer in await self._one(message)]
        return [acknowledgement.batch(answers)] if answers else []

    async def _one(self, raw: bytes) -> list[bytes]:
        header = read_header(raw)
        verdict = await self._verdict(raw, header)
        return answers(header, verdict, self._clock.now())

    async def _verdict(self, raw: bytes, header: Header | None) -> Verdict:
        origin = origin_of(header, raw)
        received = self._clock.now()
        try:
            return await self._take(raw, origin, received)
        except Hl7Refused as refusal:
            return await self._refused(origin, refusal)
        except Refused as refusal:
            return await self._refused(origin, Hl7Refused(refusal.reason, refusal.explanation, "207", "", "AR"))
        except Unavailable:
            return self._try_again("unavailable")
        except Exception as error:  # a fault of ours must not look like a fault of the sender, nor like success
            place = traceback.extract_tb(error.__traceback__)[-1]  # no more of it: it may quote the message
            log.error("hl7_message_failed", error=type(error).__name__, file=place.filename, line=place.lineno)
            return self._try_again("failed")

    async def _take(self, raw: bytes, origin: Origin, received: datetime) -> Verdict:
        if len(raw) >= LARGE:
            understood = await asyncio.to_thread(self._reader.read, raw, received)
        else:
            understood = self._reader.read(raw, received)
        self._note_control_id(origin)
        if isinstance(understood, Ignored):
            await self._intake.ignore(origin, understood.reason)
            return Verdict("AA", IGNORED + understood.reason)
        receipt = await self._intake.accept(understood)
        if receipt.received_at < received:
            return Verdict("AA", f"{IGNORED}duplicate")
        log.debug("hl7_message_accepted", events=len(understood.events))
        return Verdict("AA")

    async def _refused(self, origin: Origin, refusal: Hl7Refused) -> Verdict:
        try:
            await self._intake.refuse(origin, refusal.reason)
        except Unavailable:
            return self._try_again("unavailable")
        log.warning("hl7_message_refused", reason=refusal.reason, code=refusal.code, location=refusal.location)
        return Verdict(refusal.answer, fault=Fault(refusal.code, refusal.location, f"{refusal.reason}: {refusal.explanation}"))

    async def _faulty(self, frame: Frame) -> list[bytes]:
        if frame.fault == "too-large":
            return await self._too_large(frame.data, "the message is larger than this port accepts")
        return await self._answer_refusal(frame.data, malformed("an end byte (0x1C) stands inside the message"))

    async def _too_large(self, head: bytes, explanation: str) -> list[bytes]:
        return await self._answer_refusal(head, Hl7Refused("too-large", explanation, "207", "", "AR"))

    async def _answer_refusal(self, data: bytes, refusal: Hl7Refused) -> list[bytes]:
        header = read_header(data)
        return answers(header, await self._refused(origin_of(header, data), refusal), self._clock.now())

    def _try_again(self, why: str) -> Verdict:
        self._counts[why] += 1
        return Verdict("AE", fault=Fault("207", "", "not stored, try again"))

    def _note_control_id(self, origin: Origin) -> None:
        """The same MSH-10 with other bytes is another message; somebody should know that it happens."""
        control_id, _, digest = origin.identity.rpartition("|")
        key = (origin.source, control_id.encode())
        known = self._control_ids.setdefault(key, digest)
        self._control_ids.move_to_end(key)
        if known != digest:
            self._control_ids[key] = digest
            self._counts["control-id-reused"] += 1
            log.warning("hl7_control_id_reused", source=origin.source)
        if len(self._control_ids) > CONTROL_IDS_KEPT:
            self._control_ids.popitem(last=False)


def answers(header: Header | None, verdict: Verdict, now: datetime) -> list[bytes]:
    """Original mode: one answer, always. Enhanced mode (MSH-15, MSH-16; table 0155): a commit answer and, where the message was stored or
    the commit answer was not wanted, the application's, each if asked for."""
    faults = [verdict.fault] if verdict.fault else []
    if header is None or not header.enhanced:
        return [acknowledgement.build(header, verdict.code, now, verdict.text, faults)]
    commit, application = (_asked(header.text(field).upper(), verdict) for field in (15, 16))
    wanted: list[Code] = [_COMMIT[verdict.code]] if commit else []
    if application and (verdict.code == "AA" or not commit):
        wanted.append(verdict.code)
    return [acknowledgement.build(header, code, now, verdict.text, faults) for code in wanted]


def _asked(condition: str, verdict: Verdict) -> bool:
    """Table 0155: AL always, NE never, ER on error, SU on success."""
    return condition == "AL" or (condition == "ER" and verdict.code != "AA") or (condition == "SU" and verdict.code == "AA")
