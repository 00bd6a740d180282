"""The site file as a document: what may stand in it, section by section, and the policy that it comes to.

A section that is left out is the default's; one that is given is given whole, so that nothing in it is decided by silence
(but `escalation`, which is long, part by part, and `critical_labs`, which stand before the shipped ones).
A section whose rules live elsewhere (escalation, critical_labs) is one more field of SiteDocument, its model imported from there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from pipeline.adapters.site import critical_labs, escalation
from pipeline.adapters.site.critical_labs import CriticalLabs
from pipeline.adapters.site.escalation import Escalation
from pipeline.adapters.site.section import Section
from pipeline.domain import site as domain
from pipeline.domain.site import DEFAULT, Churn, HoldReason, PlaceTargets, Policy, Setting, SubList
from pipeline.domain.urgency import FLOOR_MINUTES, LONGEST_MINUTES
from schemas.codes import PatientClass, RequestPriority

Minutes = Annotated[float, Field(ge=FLOOR_MINUTES, le=LONGEST_MINUTES, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Prevalence = Annotated[float, Field(ge=0.001, le=0.999, allow_inf_nan=False)]
Code = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
Words = Annotated[str, Field(min_length=1, max_length=120)]
Pattern = Annotated[str, Field(pattern=r"^[^\[\]]{1,80}$", description="* stands for any letters, ? for one; case does not matter")]

PRIORITIES: tuple[RequestPriority, ...] = get_args(RequestPriority)
SETTINGS: tuple[Setting, ...] = get_args(Setting)


class BySetting(Section):
    """Minutes for one priority, by where the patient is."""

    emergency: Minutes
    inpatient: Minutes
    outpatient: Minutes


class Targets(Section):
    """Minutes from the first image to the report, by priority and by where the patient is."""

    stat: BySetting
    asap: BySetting
    urgent: BySetting
    routine: BySetting

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for setting in SETTINGS:
            row = [getattr(getattr(self, priority), setting) for priority in PRIORITIES]
            if row != sorted(row):
                raise ValueError(f"{setting}: a higher priority has more time than a lower one ({' > '.join(PRIORITIES)})")
        return self


class Place(Section):
    """Minutes of single priorities for the patients of one place, before the table of targets. The first that fits counts."""

    match: Pattern
    targets: dict[RequestPriority, Minutes] = Field(min_length=1)


class Modalities(Section):
    """Minutes for a study of which neither priority nor patient class is known."""

    by_modality: dict[Annotated[str, Field(pattern=r"^[A-Z0-9_]{2,16}$")], Minutes]
    other: Minutes


class Pull(Section):
    """A model's pull: none up to `none_below`, full from `full_from` on, which leaves `floor_minutes`."""

    none_below: Probability
    full_from: Probability
    floor_minutes: Minutes

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.none_below >= self.full_from:
            raise ValueError("none_below must be less than full_from")
        return self

    def policy(self) -> domain.Pull:
        """What the ranking is told."""
        return domain.Pull(self.none_below, self.full_from, self.floor_minutes)


def _pull(one: domain.Pull) -> Pull:
    return Pull(none_below=one.none_below, full_from=one.full_from, floor_minutes=one.floor)


class Findings(Section):
    """Share of the site's pictures that have a finding, by its code: an image model's probability is brought to it; and how that pulls."""

    by_finding: dict[Code, Prevalence]
    other: Prevalence
    pull: Pull = Field(default_factory=lambda: _pull(DEFAULT.image))


class Clocks(Section):
    """Times beside the order's: from the emergency department's door for a stroke, and before a visit to a clinic."""

    stroke_door_minutes: Minutes
    appointment_lead_minutes: Annotated[float, Field(ge=0, le=10080, allow_inf_nan=False)]


class ChurnBudget(Section):
    """More than this is told to operators: moves a study, and moves among the first 20 of the list in an hour."""

    moves_per_study: float = Field(gt=0, allow_inf_nan=False)
    top_moves_per_hour: float = Field(gt=0, allow_inf_nan=False)


class Stability(Section):
    """What keeps the list from jumping."""

    dead_band_seconds: Seconds
    minimum_dwell_seconds: Seconds
    churn: ChurnBudget


class Vitals(Section):
    """How long vital signs speak for the present, and the SpO2 scale of NEWS2 (2 only where prescribed for all patients)."""

    valid_minutes: float = Field(gt=0, le=10080, allow_inf_nan=False)
    valid_minutes_emergency: float = Field(gt=0, le=10080, allow_inf_nan=False)
    news2_scale: Literal[1, 2]


class List(Section):
    """A named part of the list; a filter that is left out lets everything through. body_parts: as DICOM names them."""

    name: Code
    title: Words
    skill: Annotated[str, Field(max_length=120)] = ""
    modalities: list[str] = Field(default_factory=list)
    body_parts: list[str] = Field(default_factory=list)
    patient_classes: list[PatientClass] = Field(default_factory=list)
    locations: list[Pattern] = Field(default_factory=list)


class Hold(Section):
    """A reason for which a study cannot be read as it is, and the minutes after which it comes back by itself."""

    code: Code
    words: Words
    minutes: Annotated[float, Field(gt=0, le=10080, allow_inf_nan=False)]


class Overrides(Section):
    """How long a reader's own word on a deadline may stand."""

    longest_minutes: Annotated[float, Field(gt=0, le=10080, allow_inf_nan=False)]


class Inflation(Section):
    """From which multiple of the department's share of stat and asap orders a source is named."""

    high: Annotated[float, Field(gt=1, allow_inf_nan=False)]


def _default(part: str) -> Callable[[], Any]:
    return lambda: getattr(of(DEFAULT), part)


class SiteDocument(Section):
    """The whole file."""

    # `schema` is a word of pydantic's own, hence the alias
    format: Literal["site/1"] = Field(alias="schema", description="this document's format")
    version: Words = Field(description="the site's own name for this state of its rules; a digest of the content is added to it")
    targets: Targets = Field(default_factory=_default("targets"))
    places: list[Place] = Field(
        [], description='minutes at single places, "- {match: ICU*, targets: {stat: 30}}"; the first that fits counts'
    )
    unordered: RequestPriority = Field(DEFAULT.unordered, description="the priority that a study without one is held to")
    modalities: Modalities = Field(default_factory=_default("modalities"))
    patient_classes: dict[PatientClass, Setting] = Field(
        default_factory=_default("patient_classes"),
        description="HL7 table 0004: where a patient of this class is; a class that is not here is unknown",
    )
    risk: Pull = Field(
        default_factory=_default("risk"),
        description="The clinical model's pull: none up to `none_below`, full from `full_from` on, which leaves `floor_minutes`.",
    )
    findings: Findings = Field(default_factory=_default("findings"))
    clocks: Clocks = Field(default_factory=_default("clocks"))
    stability: Stability = Field(default_factory=_default("stability"))
    vitals: Vitals = Field(default_factory=_default("vitals"))
    critical_labs: CriticalLabs = Field(
        default_factory=_default("critical_labs"),
        description="Critical laboratory values, by age in years; below and above exclude the limit, at_most and at_least include it.\n"
        "A site's rows go before those of the shipped table, which stay for all other analytes and ages.",
    )
    lists: list[List] = Field(
        default_factory=_default("lists"),
        description="named parts of the one list, by skill, modality, body part, patient class or place",
    )
    holds: list[Hold] = Field(
        default_factory=_default("holds"),
        min_length=1,
        description="why a study may be set aside as it cannot be read, and the minutes after which it comes back by itself",
    )
    overrides: Overrides = Field(default_factory=_default("overrides"))
    inflation: Inflation = Field(default_factory=_default("inflation"))
    escalation: Escalation = Field(
        default_factory=_default("escalation"),
        description="Alerts: who is told, how and when, and what stays silent. roles: each with the one above it (`above` in a step), null "
        "at the top.\nA part that is left out is as here, and so is a trigger in `rules`; any other part is given whole.",
    )

    @model_validator(mode="after")
    def _each_name_once(self) -> Self:
        for what, names in (("lists", [one.name for one in self.lists]), ("holds", [one.code for one in self.holds])):
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"{what}: {', '.join(sorted(twice))} is there twice")
        return self

    def _settings(self) -> dict[PatientClass | None, Setting | None]:
        return {code: setting for code, setting in self.patient_classes.items()}

    def policy(self, digest: str | None = None) -> Policy:
        """What the ranking is told; its version is the site's word, and the first letters of the content's digest."""
        return Policy(
            version=f"{self.version}+{digest[:8]}" if digest else self.version,
            targets={
                (priority, setting): getattr(getattr(self.targets, priority), setting) for priority in PRIORITIES for setting in SETTINGS
            },
            places=tuple(PlaceTargets(place.match, place.targets) for place in self.places),
            modalities=self.modalities.by_modality,
            other_modality=self.modalities.other,
            unordered=self.unordered,
            risk=self.risk.policy(),
            image=self.findings.pull.policy(),
            finding_shares=self.findings.by_finding,
            finding_share=self.findings.other,
            stroke_door=self.clocks.stroke_door_minutes,
            appointment_lead=self.clocks.appointment_lead_minutes,
            dead_band=timedelta(seconds=self.stability.dead_band_seconds),
            dwell=timedelta(seconds=self.stability.minimum_dwell_seconds),
            churn=Churn(**self.stability.churn.model_dump()),
            vitals_valid=timedelta(minutes=self.vitals.valid_minutes),
            vitals_valid_emergency=timedelta(minutes=self.vitals.valid_minutes_emergency),
            news2_scale=self.vitals.news2_scale,
            critical_labs=critical_labs.table(self.critical_labs),
            settings=self._settings(),
            lists=tuple(map(_sub_list, self.lists)),
            holds=tuple(HoldReason(one.code, one.words, one.minutes) for one in self.holds),
            override_longest=timedelta(minutes=self.overrides.longest_minutes),
            inflated=self.inflation.high,
            escalation=self.escalation.policy(DEFAULT.escalation.time_zone),
        )


def of(policy: Policy) -> SiteDocument:
    """The document that comes to this policy."""
    return SiteDocument(
        schema="site/1",
        version=policy.version,
        targets=Targets(**{p: BySetting(**{s: policy.targets[p, s] for s in SETTINGS}) for p in PRIORITIES}),
        places=[Place(match=place.pattern, targets=dict(place.minutes)) for place in policy.places],
        unordered=policy.unordered,
        modalities=Modalities(by_modality=dict(policy.modalities), other=policy.other_modality),
        patient_classes={code: setting for code, setting in policy.settings.items() if code and setting},
        risk=_pull(policy.risk),
        findings=Findings(by_finding=dict(policy.finding_shares), other=policy.finding_share, pull=_pull(policy.image)),
        clocks=Clocks(stroke_door_minutes=policy.stroke_door, appointment_lead_minutes=policy.appointment_lead),
        stability=Stability(
            dead_band_seconds=policy.dead_band.total_seconds(),
            minimum_dwell_seconds=policy.dwell.total_seconds(),
            churn=ChurnBudget(
                moves_per_study=policy.churn.moves_per_study,
                top_moves_per_hour=policy.churn.top_moves_per_hour,
            ),
        ),
        vitals=Vitals(
            valid_minutes=policy.vitals_valid / timedelta(minutes=1),
            valid_minutes_emergency=policy.vitals_valid_emergency / timedelta(minutes=1),
            news2_scale=policy.news2_scale,
        ),
        critical_labs=critical_labs.of(policy.critical_labs),
        lists=[_list(one) for one in policy.lists],
        holds=[Hold(code=one.code, words=one.words, minutes=one.minutes) for one in policy.holds],
        overrides=Overrides(longest_minutes=policy.override_longest / timedelta(minutes=1)),
        inflation=Inflation(high=policy.inflated),
        escalation=escalation.of(policy.escalation),
    )


def _list(one: SubList) -> List:
    return List(
        name=one.name,
        title=one.title,
        skill=one.skill,
        modalities=list(one.modalities),
        body_parts=list(one.body_parts),
        patient_classes=list(one.patient_classes),
        locations=list(one.locations),
    )


def _sub_list(one: List) -> SubList:
    return SubList(
        one.name, one.title, one.skill, tuple(one.modalities), tuple(one.body_parts), tuple(one.patient_classes), tuple(one.locations)
    )
