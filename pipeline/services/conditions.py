"""What is amiss, in words, from a look at the pipeline; since when is remembered from look to look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from pipeline.domain.stages import PartitionLag, Stage, age_in_words
from pipeline.ports.operations import ListFigures
from pipeline.services.sources import SourceStanding

Level = Literal["warn", "bad"]
CLOCK_OFFSET_MAX_S = 2.0
ESCALATION_LATE_S = 30.0


@dataclass(frozen=True, slots=True)
class StageStanding:
    """A stage at a look. studies: open studies behind it; sentence: what its lag means, None while it means nothing."""

    stage: Stage
    lags: Sequence[PartitionLag]
    records: int
    seconds: float
    standing_still: bool
    studies: int
    sentence: str | None


@dataclass(frozen=True, slots=True)
class Operations:
    """The pipeline at a look. Where a store did not answer (`up`), its part is as it was last seen, at `good_at`.

    refused: models of which the site's own version cannot be used.
    """

    at: datetime
    good_at: datetime | None = None
    stages: Sequence[StageStanding] = ()
    figures: ListFigures = field(default_factory=ListFigures)
    sources: Sequence[SourceStanding] = ()
    letters: int = 0
    letters_limit: int = 0
    clock_offset_s: float = 0.0
    refused: Sequence[str] = ()
    up: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is not as it should be. key: the same as long as it lasts. remedy: the name of a runbook in infra/runbooks."""

    key: str
    level: Level
    words: str
    remedy: str
    since: datetime


class Conditions:
    """Knows since when each has lasted."""

    def __init__(self) -> None:
        self._since: dict[str, datetime] = {}

    def of(self, seen: Operations) -> list[Condition]:
        """What is amiss now, the bad first, the longest first."""
        found = list(_amiss(seen))
        begun = {f"stage-{stage.stage.name}": seen.at - timedelta(seconds=stage.seconds) for stage in seen.stages}
        self._since = {key: self._since.get(key, begun.get(key, seen.at)) for key, *_ in found}
        told = [Condition(key, level, words, remedy, self._since[key]) for key, level, words, remedy in found]
        return sorted(told, key=lambda condition: (condition.level == "warn", condition.since))


def _amiss(seen: Operations) -> Iterator[tuple[str, Level, str, str]]:
    for store, up in seen.up.items():
        if not up:
            words = f"{store.capitalize()} does not answer: what stands here is old, and nothing moves."
            yield f"store-{store}", "bad", words, "store-away"
    for stage in seen.stages:
        if stage.sentence is not None:
            words = stage.sentence + (" It stands still." if stage.standing_still else "")
            yield f"stage-{stage.stage.name}", "bad", words, "partition-standing-still" if stage.standing_still else "stage-behind"
    due = seen.figures.escalation_due_at
    if due is not None and (late := (seen.at - due).total_seconds()) > ESCALATION_LATE_S:
        words = f"An escalation step is {age_in_words(late)} late: somebody who should have been called has not been."
        yield "escalation", "bad", words, "escalation-late"
    if seen.letters_limit and seen.letters >= seen.letters_limit:
        words = f"The intake is stopped: {seen.letters} dead letters wait, the limit is {seen.letters_limit}. Senders keep their messages."
        yield "intake", "bad", words, "intake-stopped"
    elif seen.letters:
        wait = "1 dead letter waits" if seen.letters == 1 else f"{seen.letters} dead letters wait"
        yield "letters", "warn", f"{wait}: data that the list does not know of.", "dead-letters"
    if seen.figures.degraded:
        share = f"{seen.figures.degraded} of {seen.figures.open}"
        words = f"{share} open studies are ranked without the model: order target, rules and age only."
        yield "degraded", "warn", words, "model-away"
    for model in seen.refused:
        words = f"The site's version of {model} cannot be used: the shipped one answers, and readfirst doctor says why."
        yield f"version-{model}", "warn", words, "model-away"
    if seen.figures.site_faults:
        faults = "a fault" if seen.figures.site_faults == 1 else f"{seen.figures.site_faults} faults"
        words = f"The newest site file is refused for {faults}: the rules from before rank the list."
        yield "site-file", "warn", words, "site-file-refused"
    for source in seen.sources:
        if source.silence.silent:
            age, missed = age_in_words(source.silence.seconds), round(source.silence.missed)
            words = f"{source.source} has been silent for {age}; about {missed} messages are missing."
            yield f"source-{source.source}", "warn", words, "source-silent"
    if abs(seen.clock_offset_s) > CLOCK_OFFSET_MAX_S:
        words = f"This machine's clock is {seen.clock_offset_s:+.1f} s off the database's: ages are wrong by that."
        yield "clock", "warn", words, "clock-offset"
