"""A department as a scenario file describes it: who comes, who reads, what the AIs see, and which policies are compared."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.codes import PatientClass, RequestPriority

NO_DISEASE = "none"
OTHERS = "other"


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Reading(_Part, frozen=True, kw_only=True):
    """How long a study is read. mean: minutes. variation: standard deviation over mean (exponential: 1, fixed: 0)."""

    mean: float
    distribution: Literal["exponential", "lognormal", "gamma", "fixed"] = "exponential"
    variation: float = 1.0


class Disease(_Part, frozen=True, kw_only=True):
    """prevalence: share of the group's studies. minutes: mean reading time, where it is not the group's."""

    name: str
    prevalence: float
    minutes: float | None = None


class Group(_Part, frozen=True, kw_only=True):
    """Studies of one kind. share: of all arrivals. interrupting: read at once, whatever is on the table."""

    name: str
    share: float
    reading: Reading
    diseases: list[Disease] = []
    interrupting: bool = False
    modality: str | None = None


class Readers(_Part, frozen=True, kw_only=True):
    """Readers alike. groups: what they can read (all, where none is named). hours: on duty from, to; may cross midnight."""

    count: int = 1
    groups: list[str] = []
    hours: tuple[float, float] | None = None

    @property
    def on_duty(self) -> float:
        """Share of the day."""
        return 1.0 if self.hours is None else (self.hours[1] - self.hours[0]) % 24 / 24


class Arrivals(_Part, frozen=True, kw_only=True):
    """Poisson. traffic: share of the readers' time that reading takes, without AI; or studies per_hour. by_hour: 24 weights of the day."""

    traffic: float | None = None
    per_hour: float | None = None
    by_hour: list[float] = []


class Ai(_Part, frozen=True, kw_only=True):
    """One AI that looks for one disease in one group. The order of the AIs is the strict hierarchy's.

    roc: (false positive, true positive fraction) rising from the first to the last operating point, with falling slopes.
    The fields in minutes are added to the mean reading time of its false flags, true flags, misses and clear studies.
    """

    name: str
    group: str
    finds: str
    specificity: float
    sensitivity: float | None = None
    roc: list[tuple[float, float]] = []
    false_flag_minutes: float = 0.0
    true_flag_minutes: float = 0.0
    missed_minutes: float = 0.0
    clear_minutes: float = 0.0


class Order(_Part, frozen=True, kw_only=True):
    """What a study is ordered as. share: of all. given: other shares for studies with the named disease."""

    name: str
    share: float = 1.0
    priority: RequestPriority | None = None
    patient_class: PatientClass | None = None
    given: dict[str, float] = {}


class Sign(_Part, frozen=True, kw_only=True):
    """Context besides the AIs, read by the live rules. given: probability by disease ("none" for those without).
    groups: where it is seen (in all, where none is named).

    indication: words of the order. news2: parameters of `pipeline.domain.news2.Observed`.
    """

    name: str
    given: dict[str, float]
    groups: list[str] = []
    indication: str | None = None
    news2: dict[str, float | bool] = {}


Kind = Literal["fifo", "order", "flag", "hierarchy", "accumulating", "edf", "readfirst"]


class Rule(_Part, frozen=True, kw_only=True):
    """One policy. Keys of weights (accumulating) and minutes (edf) are names of AIs, and "other".

    max_wait (hierarchy): after so many minutes a study goes to the top. signs (readfirst): whether the context enters.
    """

    name: str
    kind: Kind
    max_wait: float | None = None
    weights: dict[str, float] = {}
    minutes: dict[str, float] = {}
    signs: bool = True

    @property
    def uses_ai(self) -> bool:
        """Without AI nobody reads longer for its flags."""
        return self.kind not in ("fifo", "order")


class Scenario(_Part, frozen=True, kw_only=True):
    """preemption: whether a study on the table is put aside: never, for interrupting groups, or for whatever the policy puts first."""

    name: str
    title: str
    source: str = ""
    assumptions: list[str] = []
    exams: int = 200_000
    seed: int = 1
    preemption: Literal["none", "interrupting", "all"] = "none"
    arrivals: Arrivals
    readers: list[Readers] = msgspec.field(default_factory=lambda: [Readers()])
    groups: list[Group]
    ais: list[Ai] = []
    orders: list[Order] = []
    signs: list[Sign] = []
    policies: list[Rule]

    @property
    def diseases(self) -> list[str]:
        """Each once, in the order of the file."""
        return list(dict.fromkeys(disease.name for group in self.groups for disease in group.diseases))

    def reads(self, readers: Readers) -> frozenset[str]:
        """The groups that these readers can read."""
        return frozenset(readers.groups or (group.name for group in self.groups))

    def capacity(self, groups: frozenset[str]) -> float:
        """Readers on duty, over the day, who can read any of these groups."""
        return sum(one.count * one.on_duty for one in self.readers if self.reads(one) & groups)

    def per_minute(self) -> float:
        """Arrivals a minute, over the day."""
        if self.arrivals.per_hour is not None:
            return self.arrivals.per_hour / 60
        assert self.arrivals.traffic is not None
        everything = frozenset(group.name for group in self.groups)
        return self.arrivals.traffic * self.capacity(everything) / sum(group.share * mean_minutes(group) for group in self.groups)


def mean_minutes(group: Group) -> float:
    """Of a group's studies, without AI."""
    return group.reading.mean + sum(
        one.prevalence * (one.minutes - group.reading.mean) for one in group.diseases if one.minutes is not None
    )
