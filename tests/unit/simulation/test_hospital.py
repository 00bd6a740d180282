"""The simulated hospital: nobody in it exists, and all is in it that makes real feeds hard."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

from pipeline.simulation.hospital import Hospital, Plan
from pipeline.simulation.messages import Outgoing

DAY = datetime(2026, 3, 2, tzinfo=UTC)
HEART_RATE = "8867-4^"


def sent(plan: Plan) -> list[Outgoing]:
    """All that the hospital says, at the hours of the plan."""
    return list(Hospital(plan, lambda at: DAY + timedelta(hours=plan.start_hour) + at).messages())


def field(message: Outgoing, segment: str, number: int) -> str:
    """Of the first segment of that name; MSH counts its separator."""
    lines = (message.hl7 or b"").decode().split("\r")
    return next((line.split("|")[number - (segment == "MSH")] for line in lines if line.startswith(f"{segment}|")), "")


def test_the_usual_hospital_has_the_disorder_of_real_feeds() -> None:
    """In the demo's three hours each kind at least once, and the usual beside it."""
    messages = sent(Plan())
    orders = [each for each in messages if field(each, "ORC", 1) == "NW"]
    images = [(each.at, each.dicom) for each in messages if each.dicom is not None]
    first_image = {str(image.StudyID): at for at, image in reversed(images)}
    ahead = {first_image[number] > order.at for order in orders if (number := field(order, "ORC", 2).partition("^")[0]) in first_image}
    stamps = [(field(each, "MSH", 7), field(each, "OBX", 14)) for each in messages if each.source == "lab"]
    delays = [datetime.strptime(told, "%Y%m%d%H%M%S%z") - datetime.strptime(taken, "%Y%m%d%H%M%S%z") for told, taken in stamps]
    rates: dict[str, list[float]] = defaultdict(list)
    for each in messages:
        if HEART_RATE in field(each, "OBX", 3):
            rates[field(each, "PID", 3)].append(float(field(each, "OBX", 5)))

    assert [each.at for each in messages] == sorted(each.at for each in messages)
    assert ahead == {True, False}, "orders before the images, and orders written down after them"
    assert {count for count in Counter(each.hl7 for each in orders).values()} == {1, 2}, "orders sent twice"
    assert {count for count in Counter(str(image.SOPInstanceUID) for _, image in images).values()} == {1, 2}, "images sent twice"
    assert {bool(image.AccessionNumber) for _, image in images} == {True, False}, "images without an accession number"
    assert {field(each, "ORC", 1) for each in messages if each.source == "ris"} == {"NW", "CA"}, "orders that are cancelled"
    assert {field(each, "MSH", 9)[4:] for each in messages if each.source == "adt"} == {"A01", "A04", "A40"}, "patients that are merged"
    assert {field(each, "OBX", 11) for each in messages if each.source == "lab"} == {"F", "C"}, "results that are corrected"
    assert min(delays) < timedelta(minutes=10) and max(delays) > timedelta(hours=1), "laboratories in time, and late ones"
    assert {values[-1] - values[0] > 25 for values in rates.values()} == {True, False}, "patients who get worse, and calm ones"


def test_outpatients_come_by_day_only() -> None:
    """At night the hospital has emergencies and inpatients."""
    day, night = (
        {field(each, "PV1", 2) for each in sent(Plan(studies=20, hours=hours, start_hour=hour, observations=1)) if each.source == "adt"}
        for hour, hours in ((9, 3), (20, 10))
    )

    assert day == {"E", "I", "O"}
    assert night == {"E", "I"}
