"""What happened to one patient, as steps in time: how a step gets its times, its event ids and its place in the log."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self, TypedDict, Unpack

import msgspec

from pipeline.replay.times import Day, WrittenWrong, told_to_the_writer
from pipeline.replay.vocabulary import did_you_mean
from schemas.assessments import Assessment
from schemas.events import AnyEvent, Demographics, Event
from schemas.identifiers import event_id
from schemas.time import Timestamp
from schemas.topics import Topic

Moment = str | datetime
__tracebackhide__ = told_to_the_writer
NOT_TOLD = Demographics()


class When(TypedDict, total=False):
    """The times of a step, and who told it."""

    at: Moment
    known_at: Moment
    logged_at: Moment
    source: str


@dataclass(frozen=True, slots=True)
class Step:
    """One document on its topic. source: who sent it. logged_at: its place in the log. again: the source had sent it before."""

    topic: Topic
    event: AnyEvent | Assessment
    source: str
    logged_at: datetime
    again: bool = False


@dataclass(frozen=True, slots=True)
class Times:
    """true: when it was so. known: when a gateway learned it. logged: when Kafka got it."""

    true: Timestamp
    known: datetime
    logged: datetime
    source: str | None


@dataclass(slots=True)
class Story:
    """names: study UID -> what the story calls it."""

    name: str
    key: str
    day: Day
    demographics: Demographics = NOT_TOLD
    unmatched: bool = False
    steps: list[Step] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    _now: datetime | None = None
    _began: int = 0

    def sent_again(self, **when: Unpack[When]) -> Self:
        """The source had no answer to the step before, and sends it once more."""
        if not self.steps:
            raise WrittenWrong("nothing has been sent yet that could be sent again")
        again, times = self.steps[self._began :], self.begin(when)
        for step in again:
            event = msgspec.structs.replace(step.event, recorded_at=times.known)
            self.steps.append(Step(step.topic, event, step.source, times.logged, again=True))
        return self

    def begin(self, when: When) -> Times:
        """The times of a new step; the story's present moves on to when it is known. Raises WrittenWrong."""
        for word in when:
            if word not in When.__annotations__:
                raise WrittenWrong(f"a step has no {word!r}{did_you_mean(word, When.__annotations__)}")
        at, known_at, logged_at = when.get("at"), when.get("known_at"), when.get("logged_at")
        known = self._known(at, known_at)
        true = self.day.timestamp(at, received=known) if at is not None else Timestamp(known)
        logged = self.day.moment(logged_at) if logged_at is not None else known
        self._now, self._began = known, len(self.steps)
        return Times(true, known, logged, when.get("source"))

    def _known(self, at: Moment | None, known_at: Moment | None) -> datetime:
        if known_at is not None:
            return self.day.moment(known_at)
        if at is not None:
            return self.day.moment(at)
        if self._now is None:
            raise WrittenWrong(f'the story of {self.name} does not say when it begins: give its first step a time, at="10:00"')
        return self._now

    def tell(self, topic: Topic, kind: type[Any], times: Times, source: str, patient: str | None = None, /, **fields: Any) -> None:
        """An event as a gateway would send it; its id is that of its place in the story. patient: whose it is, if another's."""
        identity = event_id("story", f"{self.key}|{len(self.steps)}|{topic.name}")
        told_by = times.source or source
        if issubclass(kind, Event):
            fields["source"] = told_by
        event = kind(event_id=identity, patient=patient or self.key, recorded_at=times.known, **fields)
        self.steps.append(Step(topic, event, told_by, times.logged))
