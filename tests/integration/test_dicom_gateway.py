"""The DICOM SCP over real sockets: storage, completeness, faults behind it, and the attacks it must survive."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, MediaStorageDirectoryStorage, generate_uid
from pynetdicom import AE
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import (
    CTImageStorage,
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    Verification,
)

from pipeline.adapters.dicom.client import Sent, StorageClient
from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.objects import MemoryObjectStore
from pipeline.adapters.memory.receipts import MemoryReceipts
from pipeline.adapters.memory.study_ledger import MemoryStudyLedger
from pipeline.adapters.memory.vault import MemoryVault
from pipeline.errors import Refused, Unavailable
from pipeline.gateways.dicom.reception import Needs
from pipeline.gateways.dicom.scp import DicomGateway, serve
from pipeline.services.intake import Intake
from pipeline.settings import Gateways, Settings
from schemas.events import ImagingEvent, Rejection
from schemas.identifiers import UNMATCHED, accession_key, patient_key
from schemas.topics import ADT, IMAGING
from tests.dicom_objects import as_file, ct, deflated, key_objects

SITE_KEY = b"k" * 32


@dataclass
class Site:
    """A gateway in this process, with in-memory twins behind it. The clock moves only when a test moves it."""

    folder: Path
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock, self.log, self.receipts, self.objects = ManualClock(), MemoryEventLog(), MemoryReceipts(), MemoryObjectStore()
        self.vault, self.ledger = MemoryVault(self.clock), MemoryStudyLedger()
        self.intake = Intake(self.log, self.receipts, self.vault, self.clock)
        self.gateway = self.start()
        self._written = 0

    def start(self) -> DicomGateway:
        """Serves with what the stores hold."""
        gateways = Gateways(dicom_port=0, **{"quiet_study_s": 0.5, **self.options})
        settings = Settings(data=self.folder, gateways=gateways)
        return serve(settings, Needs(self.intake, self.objects, self.vault, self.ledger, SITE_KEY, self.clock))

    def events(self, kind: str = "instance") -> list[ImagingEvent]:
        """What is in the topic imaging."""
        return [event for event in self.log.documents(IMAGING) if event.kind == kind]

    def file(self, content: bytes) -> Path:
        """A file with that content."""
        self._written += 1
        path = self.folder / f"{self._written}.dcm"
        path.write_bytes(content)
        return path

    def client(self, **options: Any) -> StorageClient:
        """A client of this gateway."""
        return StorageClient("127.0.0.1", self.gateway.port, timeout_s=120, **options)

    def send(self, content: bytes) -> Sent:
        """Sends one object over an association of its own."""
        with self.client() as client:
            return client.send_file(self.file(content))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A running gateway."""
    site = Site(tmp_path)
    yield site
    site.gateway.stop(1)


def until(condition: Callable[[], Any], within: float = 60.0) -> Any:
    """Waits for something to become true and returns it."""
    end = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
    return value


def notify(site: Site, service: str) -> Any:
    """An association for MPPS or IAN."""
    entity = AE("MODALITY")
    entity.add_requested_context(service)
    association = entity.associate("127.0.0.1", site.gateway.port, ae_title="READFIRST")
    assert association.is_established
    return association


# --- storage -------------------------------------------------------------------------------------------------------------------


def test_echo(site: Site) -> None:
    """C-ECHO is answered."""
    association = notify(site, Verification)

    assert association.send_c_echo().Status == 0
    association.release()


def test_stored_object_is_an_event_and_bytes(site: Site) -> None:
    """Success means: the event is in the log, the bytes are in the store, the person is in the vault."""
    sent = site.send(as_file(ct(StudyDescription="CT head for DOE")))
    (event,) = site.events()

    assert sent.outcome == "accepted"
    assert (event.patient, event.accession) == (patient_key(SITE_KEY, "HOSP", "P-4711"), accession_key(SITE_KEY, "ACC-9"))
    assert (event.source, event.modality, event.instances, event.conflict, event.unmatched) == ("RF_SEND", "CT", 1, False, False)
    assert site.vault.identities[event.patient].name == "DOE^JANE"
    assert b"DOE^JANE" in next(iter(site.objects._objects.values()))
    assert all(b"DOE" not in (record.value or b"") and b"4711" not in (record.value or b"") for record in site.log.records(IMAGING))


def test_each_sender_has_its_own_zone(tmp_path: Path) -> None:
    """By its AE title: the same clock face is another moment."""
    site = Site(tmp_path, {"default_time_zone": "Europe/Berlin", "time_zones": {"CT_BOSTON": "America/New_York"}})
    try:
        for calling in ("CT_BOSTON", "CT_BERLIN"):
            with site.client(calling=calling) as client:
                client.send_file(site.file(as_file(ct(StudyTime="101530"))))

        assert [(event.source, event.acquired.utc.hour) for event in site.events()] == [("CT_BOSTON", 15), ("CT_BERLIN", 9)]
    finally:
        site.gateway.stop(1)


def test_resend_is_applied_once(site: Site) -> None:
    """The same bytes again, from whatever sender, are acknowledged and counted."""
    content = as_file(ct())
    site.send(content)
    site.clock.advance(timedelta(seconds=0.1))
    with site.client(calling="PACS") as client:
        again = client.send_file(site.file(content))

    assert (again.outcome, again.comment) == ("accepted", "ignored: duplicate")
    assert len(site.events()) == 1
    assert site.intake.outcomes["ignored", "duplicate"] == 1


def test_other_bytes_under_the_same_uid_are_flagged(site: Site) -> None:
    """Both versions are kept; the event says so."""
    first = ct()
    site.send(as_file(first))
    site.send(as_file(ct(SOPInstanceUID=first.SOPInstanceUID, PixelData=b"\1" * 128)))

    assert [event.conflict for event in site.events()] == [False, True]
    assert [event.instances for event in site.events()] == [1, 1]
    assert len(site.objects._objects) == 2


def test_a_rejection_note_is_read_or_refused(site: Site) -> None:
    """What it rejects is in its event; one with a gap is told so, one that only empties an archive has no effect."""
    study = {"1.2.826.0.1.3680043.10.1": ["1.2.3"]}
    answers = [site.send(as_file(key_objects(code, named))) for code, named in (("113037", study), ("113037", {}), ("113039", study))]
    (event,) = site.events()

    assert event.rejection == Rejection(code="113037", instances=("1.2.3",))
    assert [(one.outcome, one.comment) for one in answers] == [
        ("accepted", None),
        ("refused", "malformed: the rejection note names no instances"),
        ("accepted", "ignored: retention-expired"),
    ]


def test_no_patient_is_held_and_claimed_later(site: Site) -> None:
    """A study without PatientID is unmatched; when an object of it names one, a merge goes out under both keys."""
    site.send(as_file(ct(PatientID=None, PatientName=None)))
    (held,) = site.events()
    assert held.unmatched and held.patient.startswith(UNMATCHED)
    site.send(as_file(ct()))
    merges = site.log.documents(ADT)

    assert {merge.patient for merge in merges} == {held.patient, patient_key(SITE_KEY, "HOSP", "P-4711")}
    assert {(merge.retired, merge.survivor) for merge in merges} == {(held.patient, patient_key(SITE_KEY, "HOSP", "P-4711"))}


def test_no_patient_but_a_known_accession(site: Site) -> None:
    """An order that came before tells whose image it is."""
    patient = patient_key(SITE_KEY, "HOSP", "P-1")
    site.vault.links[accession_key(SITE_KEY, "ACC-9")] = patient
    site.send(as_file(ct(PatientID=None)))

    assert [(event.patient, event.unmatched) for event in site.events()] == [(patient, False)]


def test_no_study_uid_is_held(site: Site) -> None:
    """It is on the list, marked."""
    site.send(as_file(ct(StudyInstanceUID=None)))

    assert [event.unmatched for event in site.events()] == [True]


def test_foreign_syntaxes_and_classes_are_taken_as_they_are(site: Site) -> None:
    """Compressed, deflated and private objects arrive byte for byte in their own transfer syntax."""
    jpeg = as_file(ct(PixelData=encapsulate([bytes(60)])), JPEG2000Lossless)
    private = as_file(ct(SOPClassUID="1.3.12.2.1107.5.9.1"))
    for content in (jpeg, deflated(ct()), private):
        assert site.send(content).outcome == "accepted"

    assert len({event.transfer_syntax for event in site.events()}) == 3


def test_dicomdir_is_no_storage_object(site: Site) -> None:
    """Its class is no storage class: the client says so, and sends other things all the same."""
    with site.client() as client:
        with pytest.raises(Refused, match="takes no objects"):
            client.send_file(site.file(as_file(ct(SOPClassUID=MediaStorageDirectoryStorage))))
        assert client.send_file(site.file(as_file(ct()))).outcome == "accepted"


def test_what_cannot_be_understood_is_refused_with_the_reason(site: Site) -> None:
    """C000 and a comment; nothing is stored; the refusal is noted."""
    sent = site.send(as_file(ct(Rows=512, Columns=512)))

    assert (sent.status, sent.outcome) == (0xC000, "refused")
    assert sent.comment is not None and sent.comment.startswith("malformed: rows x columns")
    assert (site.events(), site.objects._objects) == ([], {})
    assert site.intake.outcomes["refused", "malformed"] == 1


def test_client_refuses_what_is_no_dicom(site: Site) -> None:
    """There is nothing to put into a C-STORE command."""
    with site.client() as client, pytest.raises(Refused, match="not a DICOM file"):
        client.send_file(site.file(b"%PDF-1.7 not an image"))


@pytest.mark.parametrize("broken", ["log", "objects"])
def test_no_success_before_store_and_log_have_it(site: Site, broken: str) -> None:
    """With Kafka or the disk down the sender gets A700; the resend is applied once."""
    (site.log if broken == "log" else site.objects).fail_next()
    content = as_file(ct())
    first, second = site.send(content), site.send(content)

    assert (first.status, second.status) == (0xA700, 0)
    assert len(site.events()) == 1


def test_a_message_half_in_the_log_is_sent_again_marked(site: Site) -> None:
    """The log had it, but did not say so: the resend carries the same event id and is marked as redelivery."""
    site.log.fail_next(written=1)
    content = as_file(ct())
    site.send(content), site.send(content)
    records = site.log.records(IMAGING)

    assert len({record.headers["event_id"] for record in records}) == 1
    assert [record.headers.get("redelivery") for record in records] == [None, "1"]


def test_several_associations_at_once(site: Site) -> None:
    """Twelve senders, each with its own study."""
    failures: list[str] = []

    def send(number: int) -> None:
        with site.client(calling=f"CT{number}") as client:
            for part in range(5):
                path = site.folder / f"{number}-{part}.dcm"
                path.write_bytes(as_file(ct(StudyInstanceUID=f"1.2.3.{number}", PatientID=f"P{number}")))
                sent = client.send_file(path)
                if sent.outcome != "accepted":
                    failures.append(f"{sent}")

    threads = [threading.Thread(target=send, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert Counter(event.study_uid for event in site.events()) == {f"1.2.3.{number}": 5 for number in range(12)}
    assert max(event.instances for event in site.events()) == 5


def test_too_many_associations_are_rejected(tmp_path: Path) -> None:
    """Beyond the limit: rejected, transient; when one ends there is room again."""
    site = Site(tmp_path, {"dicom_associations_max": 2})
    try:
        entity = AE("X")
        entity.add_requested_context(Verification)
        held = [entity.associate("127.0.0.1", site.gateway.port) for _ in range(3)]
        assert [one.is_established for one in held] == [True, True, False]
        assert held[2].is_rejected
        held[0].release()
        until(lambda: entity.associate("127.0.0.1", site.gateway.port).is_established)
    finally:
        entity.shutdown()
        site.gateway.stop(0.1)


def test_called_ae_title_can_be_required(tmp_path: Path) -> None:
    """A peer that calls somebody else is rejected if the site says so."""
    site = Site(tmp_path, {"dicom_require_called_ae_title": True})
    try:
        with pytest.raises(Unavailable, match="rejected"), site.client(called="OTHER") as client:
            client.send_file(site.file(as_file(ct())))
        assert site.send(as_file(ct())).outcome == "accepted"
    finally:
        site.gateway.stop(0.1)


# --- completeness ----------------------------------------------------------------------------------------------------------------


def test_quiet_study_is_complete_once(site: Site) -> None:
    """Quiet time counts from the last image; another image begins it anew."""
    site.send(as_file(ct()))
    assert site.events("complete") == []
    site.clock.advance(timedelta(seconds=1))
    until(lambda: len(site.events("complete")) == 1)
    site.send(as_file(ct()))
    site.clock.advance(timedelta(seconds=1))
    until(lambda: len(site.events("complete")) == 2)
    time.sleep(0.4)

    assert [(event.completed_by, event.instances) for event in site.events("complete")] == [("quiet", 1), ("quiet", 2)]


def test_quiet_time_survives_a_restart(site: Site) -> None:
    """A study that fell quiet while the gateway was down is complete soon after it is up."""
    site.send(as_file(ct()))
    site.gateway.stop(1)
    site.clock.advance(timedelta(seconds=1))
    site.gateway = site.start()

    assert until(lambda: site.events("complete"))[0].completed_by == "quiet"


def test_expected_count(site: Site) -> None:
    """(0020,1208) says how many there are."""
    for _ in range(2):
        site.send(as_file(ct(NumberOfStudyRelatedInstances=2)))

    assert [(event.completed_by, event.instances) for event in site.events("complete")] == [("count", 2)]


def _step(study_uid: str = "1.2.826.0.1.3680043.10.1") -> Dataset:
    scheduled, step = Dataset(), Dataset()
    scheduled.StudyInstanceUID = study_uid
    step.ScheduledStepAttributesSequence = [scheduled]
    step.PatientID, step.PerformedProcedureStepStatus, step.PerformedProcedureStepID = "P-4711", "IN PROGRESS", "1"
    return step


def _change(state: str) -> Dataset:
    change = Dataset()
    change.PerformedProcedureStepStatus = state
    return change


@pytest.mark.parametrize("ending", ["COMPLETED", "DISCONTINUED"])
def test_mpps(site: Site, ending: str) -> None:
    """The modality says that it has finished; after that the step cannot change any more (PS3.4 F.7.2.2)."""
    site.send(as_file(ct()))
    association, uid, service = notify(site, ModalityPerformedProcedureStep), generate_uid(), ModalityPerformedProcedureStep
    assert association.send_n_create(_step(), service, uid)[0].Status == 0
    assert association.send_n_create(_step(), service, uid)[0].Status == 0x0111
    assert association.send_n_set(_change("IN PROGRESS"), service, uid)[0].Status == 0
    assert association.send_n_set(_change(ending), service, generate_uid())[0].Status == 0x0112
    site.log.fail_next()
    assert association.send_n_set(_change(ending), service, uid)[0].Status == 0x0213
    assert association.send_n_set(_change(ending), service, uid)[0].Status == 0
    final = association.send_n_set(_change(ending), service, uid)[0]
    association.release()

    assert (final.Status, final.ErrorID) == (0x0110, 0xA710)
    assert [(event.completed_by, event.instances, event.patient) for event in site.events("complete")] == [
        ("mpps", 1, patient_key(SITE_KEY, "HOSP", "P-4711"))
    ]


def test_mpps_without_study_is_refused(site: Site) -> None:
    """0120H: the sequence is of type 1."""
    association, step = notify(site, ModalityPerformedProcedureStep), _step()
    del step.ScheduledStepAttributesSequence

    assert association.send_n_create(step, ModalityPerformedProcedureStep, generate_uid())[0].Status == 0x0120
    association.release()


def test_instance_availability(site: Site) -> None:
    """The PACS has all instances online; of a study that nobody sent the notice is ignored and counted."""
    site.send(as_file(ct()))
    reference, series, notice = Dataset(), Dataset(), Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID, reference.InstanceAvailability = CTImageStorage, "1.2.3", "ONLINE"
    series.SeriesInstanceUID, series.ReferencedSOPSequence = "1.2", [reference]
    notice.ReferencedSeriesSequence = [series]
    association = notify(site, InstanceAvailabilityNotification)
    for study in ("1.2.826.0.1.3680043.10.1", "1.9.9"):
        notice.StudyInstanceUID = study
        assert association.send_n_create(notice, InstanceAvailabilityNotification, generate_uid())[0].Status == 0
    association.release()

    assert [event.completed_by for event in site.events("complete")] == ["ian"]
    assert site.intake.outcomes["ignored", "unknown-study"] == 1


# --- a process of its own: memory, attacks, sudden death -----------------------------------------------------------------------


@dataclass
class Process:
    """The gateway as a process."""

    folder: Path
    quiet_s: float = 30.0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Starts it and waits until it listens."""
        command = [sys.executable, "-m", "tests.integration.dicom_gateway_process", str(self.folder)]
        environment = {**os.environ, "QUIET_S": str(self.quiet_s)}
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=Path(__file__).resolve().parents[2])
        assert self.child.stdout is not None
        try:
            self.port = int(self.child.stdout.readline())
        except ValueError:
            self.child.kill()
            raise

    def stop(self) -> int:
        """Asks it to end; its exit status."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(60)

    @property
    def rss(self) -> int:
        """Resident memory, bytes."""
        return psutil.Process(self.child.pid).memory_info().rss

    def log(self) -> list[dict[str, Any]]:
        """The records it wrote."""
        path = self.folder / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def send(self, content: bytes) -> Sent:
        """Sends one object."""
        path = self.folder / "sent.dcm"
        path.write_bytes(content)
        with StorageClient("127.0.0.1", self.port, timeout_s=120) as client:
            return client.send_file(path)

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """A gateway process; it must still end cleanly after the test."""
    process = Process(tmp_path)
    yield process
    assert process.stop() == 0


class Peak:
    """The largest resident memory of a process while the block runs."""

    def __init__(self, process: Process) -> None:
        self._process, self._done = process, threading.Event()
        self.before = self.bytes = process.rss

    def __enter__(self) -> Peak:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self.bytes = max(self.bytes, self._process.rss)


def test_announced_pdu_length_is_not_believed(process: Process, record_property: Callable[[str, object], None]) -> None:
    """A PDU that announces 4 GB is cut off at its header."""
    process.send(as_file(ct()))
    with Peak(process) as peak, process.connect() as connection:
        sent = 0
        with pytest.raises(OSError):
            connection.sendall(b"\x01\0" + struct.pack(">L", 0xFFFFFFF0))
            while sent < 64 << 20:
                sent += connection.send(bytes(1 << 20))
    record_property("pdu_length_sent_mib", sent / 2**20)
    record_property("pdu_length_rss_mib", peak.bytes / 2**20)

    assert sent < 16 << 20
    assert peak.bytes - peak.before < 16 << 20
    assert process.send(as_file(ct())).outcome == "accepted"


def test_half_open_sockets_do_not_block_others(process: Process, record_property: Callable[[str, object], None]) -> None:
    """A hundred sockets that send one byte: others are served meanwhile, and the sockets are closed within seconds."""
    process.send(as_file(ct()))
    with Peak(process) as peak:
        held = [process.connect() for _ in range(100)]
        for connection in held:
            connection.send(b"\x01")
        began = time.monotonic()
        assert process.send(as_file(ct())).outcome == "accepted"
        served = time.monotonic() - began
        gone, *_ = select.select(held[-10:], [], [], 0)
        for connection in held:
            _await_end(connection)
        closed = time.monotonic() - began
    record_property("half_open_served_s", round(served, 2))
    record_property("half_open_closed_s", round(closed, 2))
    record_property("half_open_rss_mib", peak.bytes / 2**20)

    assert gone == [], "nobody had to wait for the end of the youngest"
    assert closed < 40
    assert peak.bytes < 256 << 20


def test_deflate_bomb_is_refused(process: Process, record_property: Callable[[str, object], None]) -> None:
    """300 kB that become 300 MiB: refused, in bounded memory and time."""
    process.send(as_file(ct()))
    bomb = deflated(ct(PixelData=None), padding=300 << 20)
    with Peak(process) as peak:
        began = time.monotonic()
        sent = process.send(bomb)
        took = time.monotonic() - began
    record_property("bomb_rss_mib", peak.bytes / 2**20)
    record_property("bomb_s", round(took, 2))

    assert sent.outcome == "refused"
    assert sent.comment is not None and "too-large" in sent.comment
    assert peak.bytes - peak.before < 48 << 20
    assert process.send(as_file(ct())).outcome == "accepted"


def _p_data(control: int, body: bytes) -> bytes:
    fragment = struct.pack(">LBB", len(body) + 2, 1, control) + body
    return b"\x04\0" + struct.pack(">L", len(fragment)) + fragment


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(_p_data(0x01, bytes(64 << 10)), id="endless-command"),
        pytest.param(b"\x04\0" + struct.pack(">L", 1 << 30) + bytes(64 << 10), id="announced-length"),
    ],
)
def test_floods_over_an_association_are_cut(process: Process, flood: bytes) -> None:
    """An association does not entitle a peer to our memory either; the next sender is served."""
    process.send(as_file(ct()))
    connection = _begin_transfer(process.port)
    with Peak(process) as peak, pytest.raises(OSError):
        for _ in range(100_000):
            connection.sendall(flood)
            time.sleep(0.0001)

    assert peak.bytes - peak.before < 32 << 20
    assert process.send(as_file(ct())).outcome == "accepted"
    until(lambda: not list((process.folder / "incoming" / "dicom").iterdir()))


def test_object_beyond_the_limit_is_cut(process: Process) -> None:
    """A data set without end does not fill the disk."""
    connection = _begin_transfer(process.port)
    incoming = process.folder / "incoming" / "dicom"
    sent = 0
    with pytest.raises(OSError):
        while sent < 64 << 20:
            connection.sendall(_p_data(0x00, bytes(128 << 10)))
            sent += 128 << 10
    until(lambda: not list(incoming.iterdir()))

    assert sent < 16 << 20
    assert process.log() == []


def test_aborted_transfers_leave_no_files(process: Process) -> None:
    """A sender that goes away in the middle leaves neither a file nor an event."""
    for _ in range(3):
        _begin_transfer(process.port).close()
    incoming = process.folder / "incoming" / "dicom"
    until(lambda: not list(incoming.iterdir()))

    assert process.log() == []


def test_kill_in_the_middle_of_a_transfer(tmp_path: Path) -> None:
    """kill -9 while an object arrives: no success; after the restart the resend is applied once, and the leftover is gone."""
    process = Process(tmp_path)
    connection = _begin_transfer(process.port)
    incoming = process.folder / "incoming" / "dicom"
    until(lambda: list(incoming.iterdir()))
    process.child.kill()
    process.child.wait()
    _await_end(connection)
    assert process.log() == []
    process.start()
    try:
        assert list(incoming.iterdir()) == []
        content = as_file(ct())
        assert [process.send(content).outcome for _ in range(2)] == ["accepted", "accepted"]
        assert len(process.log()) == 1
    finally:
        process.stop()


def test_killed_again_and_again_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """A sender that repeats until it has success, through several kill -9: every object is in the log, under one event id each."""
    process = Process(tmp_path)
    paths = [tmp_path / f"object-{number}.dcm" for number in range(60)]
    for number, path in enumerate(paths):
        path.write_bytes(as_file(ct(StudyInstanceUID=f"1.2.3.{number % 6}")))
    done = threading.Event()

    def send_all() -> None:
        for path in paths:
            while True:
                try:
                    with StorageClient("127.0.0.1", process.port, timeout_s=10) as client:
                        if client.send_file(path).outcome == "accepted":
                            break
                except (Refused, Unavailable):
                    time.sleep(0.05)
        done.set()

    sender = threading.Thread(target=send_all)
    sender.start()
    for _ in range(3):
        time.sleep(0.7)
        process.child.kill()
        process.child.wait()
        process.start()
    assert done.wait(300)
    sender.join()
    assert process.stop() == 0
    records = [record for record in process.log() if record["document"].get("kind", "instance") == "instance"]
    ids = {record["document"]["sop_uid"]: record["headers"]["event_id"] for record in records}

    assert len(ids) == 60
    assert all(record["headers"]["event_id"] == ids[record["document"]["sop_uid"]] for record in records)
    assert len([record for record in records if "redelivery" not in record["headers"]]) <= 60
    stored = [path for path in (tmp_path / "objects").rglob("*.dcm") if ".incoming" not in path.parts]
    assert len(stored) == 60


def test_every_development_file(process: Process, shared_data: Path) -> None:
    """Each file of the collection ends as accepted or refused with a reason, in bounded memory, and the gateway stays up."""
    outcomes: dict[str, str] = {}
    files = sorted((shared_data / "dicom-dev").rglob("*.dcm"))
    with Peak(process) as peak, StorageClient("127.0.0.1", process.port, timeout_s=120) as client:
        for path in files:
            try:
                sent = client.send_file(path)
                outcomes[path.name] = f"{sent.outcome} {sent.status:04X} {sent.comment or ''}"
            except Refused as refusal:
                outcomes[path.name] = f"refused before sending: {refusal}"
    print(*(f"{name:75} {outcome}" for name, outcome in outcomes.items()), f"RSS {peak.bytes >> 20} MiB", sep="\n")

    assert len(outcomes) == len(files) > 50
    assert all(outcome.startswith(("accepted", "refused")) for outcome in outcomes.values())
    assert Counter(outcome.split()[0] for outcome in outcomes.values())["accepted"] >= 44
    assert peak.bytes < 512 << 20


def _await_end(connection: socket.socket) -> None:
    """Returns when the peer has closed; fails on the time limit."""
    connection.settimeout(60)
    with contextlib.suppress(ConnectionError):
        assert connection.recv(1) == b""


def _begin_transfer(port: int) -> socket.socket:
    """A C-STORE of which the command and half of the data set have arrived; the connection as a bare socket."""
    entity = AE("BROKEN")
    entity.add_requested_context(CTImageStorage)
    association = entity.associate("127.0.0.1", port)
    assert association.is_established
    raw: socket.socket = association.dul.socket.socket
    command = Dataset()
    command.AffectedSOPClassUID, command.CommandField, command.MessageID = CTImageStorage, 1, 1
    command.Priority, command.CommandDataSetType, command.AffectedSOPInstanceUID = 0, 1, generate_uid()
    encoded = encode(command, True, True) or b""
    for control, body in ((0x03, encoded), (0x00, bytes(5000))):
        raw.sendall(_p_data(control, body))
    copy = raw.dup()
    association.dul._kill_thread = True
    association._kill = True
    association.dul.join(60)
    raw.close()  # the connection lives on in the copy
    copy.settimeout(60)
    return copy
