"""A small event log written by hand: what happened to each patient, step by step, in the department's words.

    patient("P1", age=67).arrives(at="10:00", patient_class="E").order("ACC1", "CT HEAD", priority="stat").ct("HEAD", "ACC1", at="10:05")

Each step is what a gateway would send, with the same ids every time. Any step takes `at` (when it was true), `known_at` (when we learned
it: as `at` unless said), `logged_at` (when Kafka got it: as `known_at`) and `source`; one without times happens when the one before did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, Self, Unpack

import msgspec

from pipeline.domain import priorities
from pipeline.domain.catalogue import OBSERVABLES
from pipeline.replay import vocabulary
from pipeline.replay.names import AUTHORITY, SITE_KEY, study_uid
from pipeline.replay.story import Moment, Story, When
from pipeline.replay.times import DEFAULT_DATE, Day, WrittenWrong, told_to_the_writer
from schemas.assessments import Assessment, Risk
from schemas.codes import AbnormalFlag, Coding, ObservationStatus, PatientClass, RejectionCode, RequestPriority, Sex
from schemas.events import (
    AdtEvent,
    Appointment,
    Demographics,
    FindingEvent,
    ImagingEvent,
    Observation,
    ObservationEvent,
    OrderEvent,
    Rejection,
    ReportEvent,
)
from schemas.findings import ImageAssessment, ImageFinding
from schemas.identifiers import accession_key, order_key, patient_key, pseudonym, unmatched_patient_key
from schemas.topics import ADT, ASSESSMENTS, FINDINGS, IMAGING, LABS, ORDERS, REPORTS, VITALS, Topic

__tracebackhide__ = told_to_the_writer
MODEL, OUTCOME = "by-hand", "in-hospital death"
"""Whose answers the scores of a story are said to be."""

ReportStatus = Literal["preliminary", "final", "corrected", "addendum", "cancelled"]


@dataclass(frozen=True, slots=True)
class _Told:
    """An observation of the story, as a correction has to find it."""

    observation: Observation
    topic: Topic


def patient(
    name: str, *, age: float | None = None, sex: Sex = "U", authority: str = AUTHORITY, on: str | date = DEFAULT_DATE, zone: str = "UTC"
) -> Patient:
    """Begins the story of a patient; `authority` gave the number `name`. Times without a date are on `on`, by the clocks of `zone`."""
    vocabulary.one_of("sex", sex, Sex)
    return Patient(name, patient_key(SITE_KEY, authority, name), Day.named(on, zone), Demographics(age, sex))


def unknown(name: str, *, on: str | date = DEFAULT_DATE, zone: str = "UTC") -> Patient:
    """Begins the story of images that name no patient; assertions call their study `name`."""
    return Patient(name, unmatched_patient_key(SITE_KEY, study_uid(name)), Day.named(on, zone), unmatched=True)


@dataclass(slots=True)
class Patient(Story):
    """Each method is a step of the story and returns the story. Raises WrittenWrong where a word, unit or time cannot be meant."""

    _observed: list[_Told] = field(default_factory=list)

    # --- where the patient is

    def arrives(self, patient_class: PatientClass | None = None, location: str | None = None, **when: Unpack[When]) -> Self:
        """Admitted, or registered in the emergency department or a clinic (A01, A04)."""
        return self._moves("A04" if patient_class in ("E", "O") else "A01", when, patient_class=patient_class, location=location)

    def moves(self, location: str, patient_class: PatientClass | None = None, **when: Unpack[When]) -> Self:
        """Transferred (A02)."""
        return self._moves("A02", when, patient_class=patient_class, location=location)

    def leaves(self, **when: Unpack[When]) -> Self:
        """Discharged (A03)."""
        return self._moves("A03", when, discharged=True)

    def merges_into(self, other: Patient, **when: Unpack[When]) -> Self:
        """The two were one person all along: this number is retired, `other` lives on (A40). Told under both, as gateways do."""
        return self._joins("merge", "A40", other, when)

    def parts_from(self, other: Patient, **when: Unpack[When]) -> Self:
        """The merge was wrong (A37)."""
        return self._joins("unmerge", "A37", other, when)

    def is_booked(self, to: Moment, visit: str = "visit", *, accession: str | None = None, **when: Unpack[When]) -> Self:
        """An appointment in a clinic (S12), the `visit` of that name; said again, it is moved. accession: the order that it is about."""
        return self._visits("S12", visit, when, at=self.day.moment(to), accession=accession and accession_key(SITE_KEY, accession))

    def is_not_booked(self, visit: str = "visit", **when: Unpack[When]) -> Self:
        """That appointment is cancelled (S15)."""
        return self._visits("S15", visit, when)

    # --- what is ordered, taken and reported

    def order(
        self, accession: str, study: str, priority: str | None = None, *, indication: str | None = None,
        patient_class: PatientClass | None = None, read_by: Moment | None = None, placer: str | None = None, **when: Unpack[When],
    ) -> Self:  # fmt: skip
        """An examination, "CT HEAD", is ordered. priority: stat, asap, urgent, routine, or HL7's code ("S", "TM30"). read_by: its deadline.

        placer: the placer's order number, the accession number where none is said.
        """
        modality, part = vocabulary.examination(study)
        said = {"modality": modality, "body_part": part, "procedure": Coding(study, display=study), "indication": indication}
        return self._orders("new", accession, placer, priority, read_by, when, patient_class=_class(patient_class), **said)

    def changes_order(
        self, accession: str, priority: str | None = None, *, indication: str | None = None, patient_class: PatientClass | None = None,
        read_by: Moment | None = None, placer: str | None = None, **when: Unpack[When],
    ) -> Self:  # fmt: skip
        """What is not said stays as it was."""
        said = {"indication": indication, "patient_class": _class(patient_class)}
        return self._orders("change", accession, placer, priority, read_by, when, **said)

    def cancels_order(self, accession: str, placer: str | None = None, **when: Unpack[When]) -> Self:
        """Its study leaves the list."""
        return self._orders("cancel", accession, placer, None, None, when)

    def images(
        self, study: str, accession: str | None = None, *, named: str | None = None, instances: int = 1,
        priority: RequestPriority | None = None, complete: bool = True, stored: bool = False, **when: Unpack[When],
    ) -> Self:  # fmt: skip
        """Images of "CT HEAD" arrive, and with them (unless `complete=False`) the word that these are all.

        named: what assertions call the study; else its accession number, else "P1 CT HEAD". stored: the last instance's address is told, by
        which a rejection finds what was said of it.
        """
        modality, part = vocabulary.examination(study)
        name = named or accession or (self.name if self.unmatched else f"{self.name} {study}")
        uid, times = study_uid(name), self.begin(when)
        self.names[uid] = name
        said = {
            "study_uid": uid,
            "acquired": times.true,
            "modality": modality,
            "body_part": part,
            "study_description": study,
            "accession": accession_key(SITE_KEY, accession) if accession else None,
            "priority": priority,
            "demographics": self.demographics,
            "instances": instances,
            "unmatched": self.unmatched,
        }
        image = {"series_uid": f"{uid}.1", "sop_uid": f"{uid}.1.{instances}", "uri": _address(uid, instances) if stored else None}
        self.tell(IMAGING, ImagingEvent, times, "modality", **image, **said)
        if complete:
            self.tell(IMAGING, ImagingEvent, times, "modality", kind="complete", completed_by="quiet", **said)
        return self

    def ct(self, part: str, accession: str | None = None, **more: Any) -> Self:
        """As `images` of "CT …"."""
        return self.images(f"CT {part}", accession, **more)

    def mr(self, part: str, accession: str | None = None, **more: Any) -> Self:
        """As `images` of "MR …"."""
        return self.images(f"MR {part}", accession, **more)

    def xray(self, part: str, accession: str | None = None, **more: Any) -> Self:
        """As `images` of "DX …"."""
        return self.images(f"DX {part}", accession, **more)

    def rejects(self, accession: str, code: RejectionCode = "113001", *, instance: int = 1, **when: Unpack[When]) -> Self:
        """A rejection note on one image, told as `stored`, of the study of an accession number; code: why (DICOM CID 7010)."""
        vocabulary.one_of("rejection", code, RejectionCode)
        times, uid = self.begin(when), study_uid(accession)
        note = Rejection(code=code, instances=(f"{uid}.1.{instance}",))
        self.tell(IMAGING, ImagingEvent, times, "modality", study_uid=uid, acquired=times.true, rejection=note)
        return self

    def report(
        self, accession: str | None = None, status: ReportStatus = "final", text: str | None = None, *, study: str | None = None,
        **when: Unpack[When],
    ) -> Self:  # fmt: skip
        """Of an accession number, or of a `study` by its name. All but a preliminary and a cancelled one take the study off the list."""
        vocabulary.one_of("report status", status, ReportStatus)
        if (accession is None) == (study is None):
            raise WrittenWrong("a report is of an accession number or of a study: say one of them")
        times = self.begin(when)
        number = {"accession": accession_key(SITE_KEY, accession)} if accession else {"study_uid": study_uid(str(study))}
        key = pseudonym(SITE_KEY, "report", accession or str(study))
        self.tell(REPORTS, ReportEvent, times, "ris", report=key, status=status, issued=times.true, text=text, **number)
        return self

    # --- what is measured

    def lab(
        self, name: str, value: float | str, unit: str | None = None, *, flag: AbnormalFlag | None = None,
        status: ObservationStatus = "final", **when: Unpack[When],
    ) -> Self:  # fmt: skip
        """A laboratory value, in the catalogue's unit (`pipeline.domain.catalogue`) where none is said. `at` is the specimen's time."""
        return self._measures(LABS, {name: value}, unit, flag, status, when)

    def vital(self, name: str, value: float | str, unit: str | None = None, **when: Unpack[When]) -> Self:
        """A vital sign, as `lab`."""
        return self._measures(VITALS, {name: value}, unit, None, "final", when)

    def vitals(self, values: Mapping[str, float | str], **when: Unpack[When]) -> Self:
        """Several vital signs in one message: {"RR": 28, "SpO2": 88, "ACVPU": "V"}."""
        return self._measures(VITALS, values, None, None, "final", when)

    def corrects(
        self, name: str, value: float | str, unit: str | None = None, *, flag: AbnormalFlag | None = None, **when: Unpack[When]
    ) -> Self:
        """The value of the specimen taken `at` (the newest, unless said) was wrong; this is the right one. Say `known_at`."""
        return self._amends(name, "corrected", value, unit, flag, when)

    def retracts(self, name: str, **when: Unpack[When]) -> Self:
        """The value of the specimen taken `at` (the newest, unless said) is withdrawn. Say `known_at`."""
        return self._amends(name, "deleted", None, None, None, when)

    # --- what the model said

    def scored(self, probability: float, **when: Unpack[When]) -> Self:
        """The model's answer on the patient as known then; a replay uses it with `scorer="recorded"`."""
        if not 0 <= probability <= 1:
            raise WrittenWrong(f"a probability lies between 0 and 1, not at {probability:g}")
        return self._scored(Risk(scorer="triton", outcome=OUTCOME, probability=probability, model=MODEL, model_version="1"), when)

    def looked_at(
        self, finding: str, probability: float, accession: str, *, head: str = "chest_frontal", instance: int = 1, **when: Unpack[When]
    ) -> Self:
        """An image model's word on an image of a study, by its accession number: the probability where a tenth of them has the finding."""
        times, uid = self.begin(when), study_uid(accession)
        found = ImageFinding(code=finding, label=finding.replace("-", " "), probability=probability, prevalence=0.1, ranks=True)
        image = ImageAssessment(head=head, version="1", at=times.true.utc, scorer="onnxruntime", findings=(found,))
        self.tell(FINDINGS, FindingEvent, times, "pictures", study_uid=uid, uri=_address(uid, instance), image=image)
        return self

    def not_scored(self, **when: Unpack[When]) -> Self:
        """The model was asked and did not answer."""
        return self._scored(Risk(scorer="rules"), when)

    # --- how a step becomes an event

    def _scored(self, risk: Risk, when: When) -> Self:
        times = self.begin(when)
        degraded, version = risk.probability is None, len(self.steps)
        said = {"context_version": version, "as_of": times.known, "studies": [], "risk": risk, "degraded": degraded}
        self.tell(ASSESSMENTS, Assessment, times, "scoring", **said)
        return self

    def _moves(self, trigger: str, when: When, *, patient_class: PatientClass | None = None, **fields: Any) -> Self:
        times = self.begin(when)
        said = {"patient_class": _class(patient_class), "demographics": self.demographics, **fields}
        self.tell(ADT, AdtEvent, times, "adt", trigger=trigger, occurred=times.true, **said)
        return self

    def _visits(self, trigger: str, visit: str, when: When, **said: Any) -> Self:
        times = self.begin(when)
        booked = Appointment(key=pseudonym(SITE_KEY, "appointment", f"{self.key}|{visit}"), **said)
        self.tell(ADT, AdtEvent, times, "adt", trigger=trigger, occurred=times.true, appointment=booked)
        return self

    def _joins(self, kind: str, trigger: str, other: Patient, when: When) -> Self:
        times = self.begin(when)
        for key in (self.key, other.key):
            said = {"occurred": times.true, "kind": kind, "retired": self.key, "survivor": other.key}
            self.tell(ADT, AdtEvent, times, "adt", key, trigger=trigger, **said)
        return self

    def _orders(
        self, control: str, accession: str, placer: str | None, code: str | None, read_by: Moment | None, when: When, **fields: Any
    ) -> Self:  # fmt: skip
        times, priority = self.begin(when), _priority(code)
        within = times.true.utc + priority.within if priority.within else None
        said = {
            "control": control,
            "order": order_key(SITE_KEY, placer or accession),
            "accession": accession_key(SITE_KEY, accession),
            "priority": priority.level,
            "priority_code": code,
            "deadline": self.day.moment(read_by) if read_by is not None else within,
            "requested": times.true if control == "new" else None,
            "demographics": self.demographics,
        }
        self.tell(ORDERS, OrderEvent, times, "ris", **said, **fields)
        return self

    def _measures(
        self, topic: Topic, values: Mapping[str, float | str], unit: str | None, flag: AbnormalFlag | None, status: Any, when: When
    ) -> Self:
        vocabulary.one_of("status", status, ObservationStatus)
        if flag is not None:
            vocabulary.one_of("flag", flag, AbnormalFlag)
        known = {name: vocabulary.observable(name, "lab" if topic is LABS else "vital") for name in values}
        times, found = self.begin(when), []
        for name, what in known.items():
            mapped = vocabulary.measured(what, values[name], unit)
            key = pseudonym(SITE_KEY, "observation", f"{self.key}|{what.loinc}|{times.true.utc.isoformat()}")
            found.append(Observation(key=key, effective=times.true, status=status, loinc=what.loinc, local=Coding(name),
                                     value=mapped.value, unit=mapped.unit, value_text=str(values[name]), flag=flag))  # fmt: skip
        self._observed += [_Told(one, topic) for one in found]
        self.tell(topic, ObservationEvent, times, "lis" if topic is LABS else "monitor", observations=found)
        return self

    def _amends(
        self, name: str, status: ObservationStatus, value: float | str | None, unit: str | None, flag: AbnormalFlag | None, when: When
    ) -> Self:
        before = self._observation(name, when)
        times = self.begin(when)
        mapped = vocabulary.measured(OBSERVABLES[str(before.observation.loinc)], value, unit) if value is not None else None
        found = msgspec.structs.replace(
            before.observation, status=status, value=mapped and mapped.value, unit=mapped and mapped.unit, flag=flag,
            value_text=None if value is None else str(value),
        )  # fmt: skip
        self.tell(before.topic, ObservationEvent, times, "lis" if before.topic is LABS else "monitor", observations=[found])
        return self

    def _observation(self, name: str, when: When) -> _Told:
        """The newest of the specimen taken `at`, or of all."""
        told = [one for one in self._observed if one.observation.loinc == vocabulary.code(name)]
        wanted = self.day.moment(when["at"]) if "at" in when else None
        found = [one for one in told if wanted in (None, one.observation.effective.utc)]
        if not found:
            there = ", ".join(f"{one.observation.value_text} of {self.day.words(one.observation.effective.utc)}" for one in told)
            which = f"{name} of {when['at']}" if "at" in when else name
            raise WrittenWrong(f"{self.name} has no {which} to correct; there is {there or 'none before'}")
        return max(found, key=lambda one: one.observation.effective.utc)


def _address(uid: str, instance: int) -> str:
    return f"object:{uid}/{uid}.1/{uid}.1.{instance}.dcm"


def _class(word: PatientClass | None) -> PatientClass | None:
    if word is not None:
        vocabulary.one_of("patient class", word, PatientClass)
    return word


def _priority(code: str | None) -> priorities.Priority:
    found = priorities.from_fhir(code)
    if code and found.level is None:
        found = priorities.from_hl7(code)
    if code and found.level is None:
        known = vocabulary.did_you_mean(code, priorities.ORDER)
        raise WrittenWrong(f"{code!r} is no priority{known}; write stat, asap, urgent, routine, or a code of HL7 table 0485")
    return found
