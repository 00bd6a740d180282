"""ADT: encounters, cancellations, merges and unmerges."""

from __future__ import annotations

import pytest

from pipeline.adapters.hl7v2.reader import Ignored
from schemas.events import AdtEvent
from schemas.identifiers import patient_key
from schemas.topics import ADT
from tests.unit.hl7.messages import KEY, PID, arrival, message, only, read

P1, P2 = patient_key(KEY, "HOSP", "P1"), patient_key(KEY, "HOSP", "P2")


@pytest.mark.parametrize(("trigger", "kind"), [(f"A0{n}", "encounter") for n in range(1, 9)] + [(f"A1{n}", "cancel") for n in (1, 2, 3)])
def test_movements(trigger: str, kind: str) -> None:
    """A01-A08 and the cancellations A11-A13, with class, place and time."""
    event = only(message(f"ADT^{trigger}", f"EVN|{trigger}|20261124090000||||20261124083000", PID, "PV1|1|I|ICU^3^B^HOSP"), ADT)
    assert isinstance(event, AdtEvent)
    assert (event.kind, event.trigger, event.patient_class, event.location) == (kind, trigger, "I", "ICU 3 B")
    assert event.occurred.utc.hour == 7 and event.discharged == (trigger == "A03")


@pytest.mark.parametrize("trigger", ["A01", "A04", "A08", "A02"])
def test_a_visit_begins_where_pv1_44_says(trigger: str) -> None:
    """Any movement may say it; a registration without EVN-6 occurred then."""
    event = only(message(f"ADT^{trigger}", f"EVN|{trigger}|20261124090000", PID, "PV1|1|E|ED" + "|" * 41 + "20261124081500"), ADT)
    assert isinstance(event, AdtEvent) and event.arrived is not None
    assert f"{event.arrived.utc:%H:%M}" == "07:15"
    assert f"{event.occurred.utc:%H:%M}" == ("07:15" if trigger in ("A01", "A04") else "08:00")


@pytest.mark.parametrize("trigger", ["A18", "A34", "A39", "A40", "A47"])
def test_a_merge_is_sent_under_both_keys(trigger: str) -> None:
    """MRG is retired, PID survives; each event has its own id."""
    found = arrival(message(f"ADT^{trigger}", f"EVN|{trigger}|20261124", PID, "MRG|P2^^^HOSP^MR||||||Miller^Anna"))
    events = [event for _, event in found.events]
    assert [event.patient for event in events] == [P2, P1]
    assert len({event.event_id for event in events}) == 2
    assert events[0].event_id == found.origin.event_id(f"merge|{P2}")
    assert all(isinstance(event, AdtEvent) and (event.kind, event.retired, event.survivor) == ("merge", P2, P1) for event in events)
    assert {identity.patient_id for identity in found.identities} == {"P1", "P2"}


def test_several_merges_in_one_message() -> None:
    """PID and MRG repeat in pairs."""
    found = arrival(message("ADT^A40", PID, "MRG|P2", "PID|2||P3", "MRG|P4"))
    pairs = {(event.retired, event.survivor) for _, event in found.events if isinstance(event, AdtEvent)}
    assert pairs == {(P2, P1), (patient_key(KEY, "HOSP", "P4"), patient_key(KEY, "HOSP", "P3"))}
    assert len({event.event_id for _, event in found.events}) == 4


def test_an_id_merged_into_itself_is_ignored() -> None:
    """Self-merge, or PID and MRG the same by mistake: understood, without effect."""
    understood = read(message("ADT^A40", PID, "MRG|P1^^^HOSP^MR"))
    assert isinstance(understood, Ignored) and understood.reason == "self-merge"


def test_a_retired_id_without_authority_is_of_the_survivors() -> None:
    """MRG-1 often leaves the authority out."""
    found = arrival(message("ADT^A40", "PID|1||1^^^KIS^MR", "MRG|2"))
    assert found.events[0][1].patient == patient_key(KEY, "KIS", "2")


def test_of_several_retired_ids_the_one_of_the_same_authority() -> None:
    """MRG-1 repeats as PID-3 does."""
    found = arrival(message("ADT^A40", "PID|1||1^^^KIS^MR", "MRG|9^^^OTHER^MR~2^^^KIS^MR"))
    assert found.events[0][1].patient == patient_key(KEY, "KIS", "2")


def test_unlink_takes_a_merge_back() -> None:
    """A37: the second PID had been joined to the first."""
    found = arrival(message("ADT^A37", "EVN|A37|20261124", PID, "PID|2||P2^^^HOSP^MR||Miller"))
    assert all(
        isinstance(event, AdtEvent) and (event.kind, event.retired, event.survivor) == ("unmerge", P2, P1) for _, event in found.events
    )
    assert [event.patient for _, event in found.events] == [P2, P1]
