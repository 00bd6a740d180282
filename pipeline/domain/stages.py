"""The stages of the pipeline as a line: name, consumer group, the topics each reads, and what it means when one is behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.topics import ASSESS, ASSESSMENTS, IMAGING, INPUTS, WORKLIST, Topic

BEHIND_AFTER_S = 5.0
"""From so many seconds on a stage is called behind: the promise is one second, and a rebalance may take some."""
STANDSTILL_AFTER_S = 15.0
"""A partition whose records wait while nothing was applied for so long stands still: a clean hand-over takes under 1 s, kill -9 takes 8."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A consumer group. meaning: what is true of the studies behind it while it lags; `{age}` is put in."""

    name: str
    group: str
    topics: tuple[Topic, ...]
    meaning: str
    by_patient: bool = True
    """Whether its topics are keyed by patient, so that the studies behind a partition are known."""


PICTURES = Stage("pictures", "readfirst-pictures", (IMAGING,), "ranked without what a model would say of images that came {age} ago")
CONTEXT = Stage("context", "readfirst-context", INPUTS, "ranked on data {age} old")
SCORING = Stage("scoring", "readfirst-scoring", (ASSESS,), "ranked without the model's newest answer: requests have been waiting for {age}")
RANKING = Stage("ranking", "readfirst-ranking", (ASSESSMENTS,), "where they stood {age} ago: newer assessments are not on the list yet")
ESCALATION = Stage(
    "escalation", "readfirst-escalation", (WORKLIST,), "alerts for what changed since then have not been raised", by_patient=False
)
STAGES = (PICTURES, CONTEXT, SCORING, RANKING, ESCALATION)


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far a stage is behind on one partition. seconds: age of the next record it has not applied; 0 when there is none.

    standstill_s: how long records have waited there while nothing was applied.
    """

    stage: str
    topic: str
    partition: int
    records: int
    seconds: float
    standstill_s: float


def seconds_behind(lags: Sequence[PartitionLag]) -> float:
    """The worst of a stage's partitions."""
    return max((lag.seconds for lag in lags), default=0.0)


def consequence(stage: Stage, lags: Sequence[PartitionLag], studies_of: Sequence[int]) -> str | None:
    """What a stage's lag does to the list, in one sentence; None while it does nothing. studies_of: open studies by partition."""
    late = [lag for lag in lags if lag.seconds >= BEHIND_AFTER_S]
    if not late:
        return None
    numbers = sorted({lag.partition for lag in late})
    if not stage.by_patient:
        return f"{stage.name.capitalize()} is {age_in_words(seconds_behind(late))} behind: {stage.meaning}."
    count = sum(studies_of[number] for number in numbers if number < len(studies_of))
    place = partitions_in_words(numbers, len(studies_of))
    age = age_in_words(seconds_behind(late))
    if count == 0:
        return f"{stage.name.capitalize()} is {age} behind on {place}; no open study is affected yet."
    studies, verb = ("1 study", "is") if count == 1 else (f"{count} studies", "are")
    of = f"on {place} of {stage.name}" if len(numbers) == len(studies_of) else f"of {stage.name} {place}"
    return f"{studies} {of} {verb} {stage.meaning.format(age=age)}."


def partitions_in_words(numbers: Sequence[int], of: int) -> str:
    """ "partition 3", "partitions 1, 4 and 7", "all 8 partitions"."""
    if len(numbers) == 1:
        return f"partition {numbers[0]}"
    if len(numbers) == of:
        return f"all {of} partitions"
    return f"partitions {', '.join(str(number) for number in numbers[:-1])} and {numbers[-1]}"


def age_in_words(seconds: float) -> str:
    """ "95 s", "12 min", "3 h 20 min"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
