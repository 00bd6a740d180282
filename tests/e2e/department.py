"""A small hospital for the page: invented patients, studies and facts over the in-memory twins, and ways to make something happen."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from pipeline.adapters.memory.context_store import MemoryContextStore
from pipeline.adapters.memory.vault import MemoryVault
from pipeline.adapters.memory.worklist import MemoryWorklist
from pipeline.adapters.onnx import artefact
from pipeline.adapters.onnx.scorer import OnnxModel
from pipeline.domain import features
from pipeline.domain.imaging import without_maps
from pipeline.domain.model_answer import risks
from pipeline.domain.window import derive
from pipeline.ports import Clock, Fact, Identity, ItemChange
from pipeline.services.assessing import request, view
from schemas.assessments import Contribution, Evidence, Risk, StudyState
from schemas.codec import decode_event, encode
from schemas.codes import Coding, Sex
from schemas.events import AdtEvent, AnyEvent, FindingEvent, ImagingEvent, Observation, ObservationEvent, OrderEvent
from schemas.findings import Activation, ImageAssessment, ImageFinding
from schemas.time import Timestamp
from schemas.worklist import Reason, WorklistItem

EXAMINATIONS: Sequence[tuple[str, str, str]] = (
    ("CT", "CT Head without contrast", "HEAD"),
    ("CT", "CT Angiography chest (PE protocol)", "CHEST"),
    ("CR", "Chest PA and lateral", "CHEST"),
    ("DX", "Chest portable", "CHEST"),
    ("CT", "CT Abdomen and pelvis with contrast", "ABDOMEN"),
    ("MR", "MR Brain stroke protocol", "BRAIN"),
    ("US", "Abdomen complete", "ABDOMEN"),
    ("DX", "Hip right", "HIP"),
    ("CT", "CT Cervical spine", "CSPINE"),
    ("MR", "MR Lumbar spine", "LSPINE"),
    ("MG", "Mammography screening", "BREAST"),
    ("DX", "Hand left 3 views", "HAND"),
)
PLACES: Sequence[tuple[str, str]] = (
    ("E", "ED BAY 3"),
    ("E", "ED RESUS 1"),
    ("I", "ICU 2"),
    ("I", "WARD 7B"),
    ("E", "ED BAY 11"),
    ("I", "STROKE UNIT"),
    ("O", "CLINIC 4"),
    ("I", "WARD 3A"),
    ("O", "BREAST CENTRE"),
)
FAMILIES = (
    "Hoffmann",
    "Yilmaz",
    "Nowak",
    "Berger",
    "Müller",
    "O'Brien",
    "Schneider",
    "Rossi",
    "Petrov",
    "Weiß",
    "Johansson",
    "Dubois",
    "Fischer",
    "Kowalska",
    "Haddad",
    "Lindqvist",
    "Okafor",
    "Santos",
    "Novák",
    "Papadopoulos",
    "Nguyen",
    "Kaya",
    "Jensen",
    "van der Berg",
    "Ionescu",
    "Horvat",
)
GIVEN: Sequence[tuple[str, Sex]] = [
    *((name, "M") for name in ("Karl", "Piotr", "Jörg", "Ivan", "Lars", "Hans", "Omar", "Chinedu", "Tomáš", "Minh", "Emre")),
    *(
        (name, "F")
        for name in ("Ayşe", "Anna Maria", "Siobhán", "Ute", "Giulia", "Gertrud", "Claire", "Zofia", "Freja", "Beatriz", "Eleni", "Mette")
    ),
]
EVIDENCE: Sequence[tuple[str, str, str, float, float, str, str]] = (
    ("critical-lab", "2823-3", "K 6.8 mmol/L, critical above 6.0", 0.95, 6.8, "mmol/L", "a corrected or later K at or below 6.0 mmol/L"),
    ("news2", "news2", "NEWS2 9 (RR 26, SpO2 88 %, HR 124)", 0.9, 9, "", "NEWS2 below 7"),
    ("indication", "stroke", "acute stroke in the indication, onset 1 h 20 min ago", 1.0, 0, "", "the order being changed"),
    (
        "critical-lab",
        "2524-7",
        "Lactate 5.1 mmol/L, critical above 4.0",
        0.85,
        5.1,
        "mmol/L",
        "a corrected or later lactate at or below 4.0 mmol/L",
    ),
    ("lab-flag", "48065-7", "D-dimer 4.2 µg/mL, flagged HH", 0.6, 4.2, "ug/mL", "the laboratory taking the mark back"),
    ("critical-lab", "718-7", "Hb 6.1 g/dL, critical below 7.0", 0.8, 6.1, "g/dL", "a corrected or later Hb at or above 7.0 g/dL"),
)
SHORT = {
    "2823-3": "K 6.8",
    "news2": "NEWS2 9",
    "stroke": "stroke code",
    "2524-7": "lactate 5.1",
    "48065-7": "D-dimer 4.2 HH",
    "718-7": "Hb 6.1",
}
VITALS = (
    ("8867-4", 96, 14, "/min"),
    ("9279-1", 20, 4, "/min"),
    ("59408-5", 93, 3, "%"),
    ("8480-6", 118, 15, "mm[Hg]"),
    ("8310-5", 37.6, 0.6, "Cel"),
)
LABS = (
    ("2823-3", 5.1, 1.2, "mmol/L"),
    ("2524-7", 2.6, 1.4, "mmol/L"),
    ("2160-0", 1.4, 0.5, "mg/dL"),
    ("718-7", 10.8, 1.6, "g/dL"),
    ("1988-5", 84, 60, "mg/L"),
)


def study_uid(number: int) -> str:
    """A UID under the example root of PS3.5 annex B."""
    return f"1.2.276.0.7230010.3.1.2.{1000 + number}"


def pseudonym(number: int) -> str:
    """As long as a real one."""
    return f"{number:032x}"


@dataclass
class Department:
    """The twins behind a page, and the things that happen in a hospital."""

    worklist: MemoryWorklist
    context: MemoryContextStore
    vault: MemoryVault
    clock: Clock

    @classmethod
    def empty(cls, clock: Clock) -> Department:
        """Nobody there yet."""
        context = MemoryContextStore()
        return cls(MemoryWorklist(context), context, MemoryVault(clock), clock)

    @classmethod
    def busy(cls, clock: Clock, studies: int = 60, *, facts: bool = True) -> Department:
        """A working day: the first studies urgent, the rest by order target. The same each time."""
        department = cls.empty(clock)
        for number in range(studies):
            department.arrive(number, facts=facts and number < 80)
        return department

    def arrive(self, number: int, *, facts: bool = True, name: str | None = None, **changes: Any) -> WorklistItem:
        """A new study of a new patient. `changes` replace fields of the item."""
        item = msgspec.structs.replace(invented_item(number, self.clock.now()), **changes)
        invented, sex = invented_name(number)
        born = self.clock.now() - timedelta(days=365.25 * (item.age or 0) + 40)
        self.know(item.patient, name or invented, sex, f"{born:%Y%m%d}", f"{4711000 + number}")
        self.vault.known_numbers[item.study.accession or ""] = f"A26{number:06d}"
        self.put(item, "study-arrived")
        if facts:
            self.learn(invented_facts(number, item, self.clock.now()))
        return item

    def know(self, patient: str, name: str | None, sex: str = "F", born: str | None = None, number: str = "1") -> None:
        """Puts a person into the vault, over what was there."""
        self.vault.identities[patient] = Identity(patient, number, "HOSP", name, born, sex)

    def put(self, item: WorklistItem, cause: str) -> None:
        """What the ranking stage does."""
        self.worklist.write(ItemChange(item, cause, f"event-{item.study.study_uid}-{item.context_version}"))

    def change(self, number: int, cause: str, **changes: Any) -> WorklistItem:
        """A newer state of a study that is there."""
        item = self.worklist.rows[study_uid(number)].listed.item
        item = msgspec.structs.replace(item, context_version=item.context_version + 1, ranked_at=self.clock.now(), **changes)
        self.put(item, cause)
        return item

    def due_in(self, number: int, minutes: float, why: str = "K 7.1 at 09:12Z", cause: str = "critical-lab") -> WorklistItem:
        """Something moves a study's deadline."""
        due = self.clock.now() + timedelta(minutes=minutes)
        found = Evidence(
            kind="critical-lab", code="2823-3", label="K 7.1 mmol/L, critical above 6.0", severity=0.95, at=self.clock.now(), source="LIS"
        )
        return self.change(number, cause, due_at=due, why=why, reasons=[Reason(evidence=found, minutes=30, binding=True)])

    def score(self, number: int) -> Risk:
        """The shipped model scores a study's patient by the facts that are known."""
        item = self.worklist.rows[study_uid(number)].listed.item
        window = derive(decode_event(fact.body) for fact in self.context.facts_of(item.patient))
        seen = view(window, window.open_studies, lambda *_: [], features.extract)
        asked, model = [request(item.patient, 1, seen, seen.as_of, None)], OnnxModel(artefact.load())
        answer = model.run(features.matrix([one.features for one in asked]))
        (risk,) = risks(asked, answer, model.reference, "onnxruntime", self.clock.now())
        self.change(number, "scored", risk=risk, as_of=seen.as_of)
        return risk

    def report(self, number: int) -> None:
        """A final report: the study leaves the list."""
        study = self.worklist.rows[study_uid(number)].listed.item.study
        self.change(number, "reported", state="closed", study=msgspec.structs.replace(study, closed="reported"))

    def learn(self, events: Sequence[AnyEvent]) -> None:
        """Facts, for the timeline and the feeds."""
        topics = {OrderEvent: "orders", AdtEvent: "adt", ImagingEvent: "imaging", FindingEvent: "findings"}
        for event in events:
            topic = topics.get(type(event), "labs" if event.source == "LIS" else "vitals")
            offset = len(self.context.facts)
            self.context.add([Fact(event.patient, event.event_id, topic, event.recorded_at, topic, 0, offset, encode(event))], [])


def invented_name(number: int) -> tuple[str, Sex]:
    """A name as DICOM writes it, and the sex that goes with it; 598 different ones."""
    given, sex = GIVEN[number * 7 % len(GIVEN)]
    return f"{FAMILIES[number % len(FAMILIES)]}^{given}", sex


def invented_item(number: int, now: datetime) -> WorklistItem:
    """Study `number`: the first dozen are pressing, every further one later."""
    dice = random.Random(number)
    modality, description, part = EXAMINATIONS[number % len(EXAMINATIONS)]
    patient_class, place = PLACES[(number * 5) % len(PLACES)]
    ready = now - timedelta(minutes=dice.randint(4, 50) + number * 1.3)
    pressing = number < 18
    due = now + timedelta(minutes=-6 + number * 3.4) if pressing else now + timedelta(minutes=55 + number * 4)
    target = max(due, ready + timedelta(minutes=60 if patient_class == "E" else 240)) if pressing else due
    evidence = [EVIDENCE[(number + step) % len(EVIDENCE)] for step in range(1 + number % 3)] if pressing else []
    degraded = number % 17 == 9
    risk = None if degraded else _risk(dice, pressing)
    seen = now - timedelta(minutes=dice.randint(8, 50))
    return WorklistItem(
        study=StudyState(
            study_uid=study_uid(number),
            ready_at=ready,
            acquired_at=ready - timedelta(minutes=3),
            modality=modality,
            body_part=part,
            description=description,
            instances=dice.randint(2, 400),
            complete=number % 5 != 2,
            accession=f"acc{number:029x}",
            order=f"ord{number:029x}",
            matched_by="accession",
            priority="stat" if pressing else "routine",
            priority_code="S" if pressing else "R",
            unmatched=number % 23 == 7,
            requested_at=ready - timedelta(minutes=40),
            patient_class=patient_class,
            location=place,
            preliminary_report=number % 19 == 11,
            image=without_maps(invented_image(ready)) if looked_at(modality, part) else None,
            indication="58 y, sudden weakness left arm, rule out haemorrhage" if number % 6 == 2 else "persisting cough, fever",
        ),
        patient=pseudonym(number),
        due_at=due,
        target_at=target,
        why=_why(evidence, risk, seen, number),
        context_version=1,
        as_of=now,
        ranked_at=now,
        reasons=_reasons(evidence, seen, (target - due) / timedelta(minutes=1), patient_class, number),
        risk=risk,
        degraded=degraded,
        provisional=number % 5 == 2,
        missing=["lactate", "GCS"] if number % 7 == 3 else [],
        sex=invented_name(number)[1],
        age=round(dice.uniform(19, 92), 1),
    )


def looked_at(modality: str | None, part: str | None) -> bool:
    """Whether an image model is for such films."""
    return modality == "DX" and part == "CHEST"


def invented_image(at: datetime) -> ImageAssessment:
    """A film with something in the lower right of the picture."""
    levels = bytes(128 + round(max(-60, 127 - 45 * ((index % 7 - 5) ** 2 + (index // 7 - 4) ** 2) ** 0.5)) for index in range(49))
    pneumonia = ImageFinding(
        code="pneumonia",
        label="pneumonia",
        probability=0.86,
        prevalence=0.5,
        ranks=True,
        activation=Activation(side=7, peak=6.4, levels=levels),
    )
    told = ImageFinding(code="intensive-care-7d", label="intensive care within 7 days (COVID-19)", probability=0.31, prevalence=0.63)
    return ImageAssessment(head="chest_frontal", version="1", at=at, scorer="triton", findings=(pneumonia, told), unlikeness=0.62)


def _risk(dice: random.Random, pressing: bool) -> Risk:
    probability = round(dice.uniform(0.4, 0.85) if pressing else dice.uniform(0.02, 0.2), 2)
    parts = [
        ("lactate", "Lactate 5.1 mmol/L", 0.14),
        ("gcs", "GCS 13", 0.09),
        ("urea_nitrogen", "BUN 48 mg/dL", 0.06),
        ("age", "Age", 0.04),
        ("platelets", "Platelets 240", -0.03),
    ]
    return Risk(
        scorer="triton",
        outcome="in-hospital death",
        probability=probability,
        model="clinical_risk",
        model_version="3",
        coverage=0.72,
        contributions=[Contribution(*part) for part in parts],
    )


def _reasons(evidence: Sequence[Any], seen: datetime, won: float, patient_class: str, number: int) -> list[Reason]:
    target = "ED STAT: 60 min" if patient_class == "E" else "routine inpatient: 4 h"
    order = Reason(
        evidence=Evidence(kind="order", code="target", label=target, severity=0.2, source="RIS"), minutes=0, binding=not evidence
    )
    reasons = [
        Reason(
            evidence=Evidence(
                kind=kind,
                code=code,
                label=label,
                severity=severity,
                value=value,
                unit=unit or None,
                at=seen - timedelta(minutes=9 * place),
                event_id=f"6f6f1d0e-{number:04x}",
                source="LIS" if "lab" in kind else "EHR",
                stale=number % 11 == 4 and place == 0,
                reverts_when=reverts,
            ),
            minutes=round(max(won - 11 * place, 4), 1),
            binding=place == 0,
        )
        for place, (kind, code, label, severity, value, unit, reverts) in enumerate(evidence)
    ]
    return [*reasons, order]


def _why(evidence: Sequence[Any], risk: Risk | None, seen: datetime, number: int) -> str:
    words = [f"{SHORT[row[1]]} at {seen - timedelta(minutes=9 * place):%H:%MZ}" for place, row in enumerate(evidence)]
    if risk and risk.probability and risk.probability > 0.3:
        words.append(f"risk {risk.probability:.2f} (labs + vitals)")
    return " · ".join(words or [("routine order", "order target 4 h", "outpatient, by age of the study")[number % 3]])


def invented_facts(number: int, item: WorklistItem, now: datetime) -> list[AnyEvent]:
    """Twelve hours of one patient."""
    dice = random.Random(number + 5000)
    patient, born = item.patient, iter(range(10_000))

    def event_id() -> str:
        return f"fact-{number}-{next(born)}"

    def moment(hours: float) -> Timestamp:
        return Timestamp(now - timedelta(hours=hours))

    def measured(hours: float, table: Sequence[Any], source: str) -> ObservationEvent:
        drift = 1.6 - hours / 8
        values = [
            Observation(
                key=f"{code}-{hours}",
                effective=moment(hours),
                loinc=code,
                value=round(mean + spread * (drift * (number % 3) + dice.uniform(-0.6, 0.6)), 1),
                unit=unit,
            )
            for code, mean, spread, unit in table
        ]
        return ObservationEvent(
            event_id=event_id(), patient=patient, source=source, recorded_at=now - timedelta(hours=hours) * 0.95, observations=values
        )

    study, known = item.study, now - timedelta(minutes=4)
    return [
        AdtEvent(
            event_id=event_id(), patient=patient, source="ADT", recorded_at=known, trigger="A01", occurred=moment(11.5), location="ED"
        ),
        OrderEvent(
            event_id=event_id(),
            patient=patient,
            source="RIS",
            recorded_at=known,
            control="new",
            order=study.order or "",
            requested=moment(1.4),
            procedure=Coding("CT", None, study.description),
            modality=study.modality,
        ),
        ImagingEvent(
            event_id=event_id(),
            patient=patient,
            source="CT1",
            recorded_at=known,
            study_uid=study.study_uid,
            acquired=Timestamp(study.ready_at),
            modality=study.modality,
            study_description=study.description,
        ),
        *(
            FindingEvent(
                event_id=event_id(),
                patient=patient,
                source="pictures",
                recorded_at=known,
                study_uid=study.study_uid,
                uri=f"object:{study.study_uid}/1/{study.study_uid}.1.dcm",
                image=invented_image(study.image.at),
            )
            for _ in range(study.image is not None)
        ),
        *(measured(hours, VITALS, "EHR") for hours in (11, 9, 7, 5, 4, 3, 2, 1, 0.1)),
        *(measured(hours, LABS, "LIS") for hours in (10, 4, 0.15)),
    ]
