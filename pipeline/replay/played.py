"""What a replay came to, asked in the user's words; a wrong answer shows the list as it stood, so that a person sees why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NoReturn, Self

from pipeline.replay.past import Change, ListThen, Names, Row, list_at
from pipeline.replay.times import Day, WrittenWrong, told_to_the_writer
from pipeline.replay.vocabulary import did_you_mean
from schemas.alerts import Alert
from schemas.worklist import WorklistItem

__tracebackhide__ = told_to_the_writer
_SHOWN_CHANGES = 6
_TELLING = ("notified", "escalated")


@dataclass(frozen=True, slots=True)
class Played:
    """A finished replay. changes: the ranking's history, in order; escalations: each step, in order.

    events: records read; ignored, dead_lettered: those that had no effect, by reason.
    digest: of list and history, the same for the same log. state_digest: of the list at the end, the same however the events came.
    """

    changes: Sequence[Change]
    escalations: Sequence[Alert]
    digest: str
    state_digest: str
    events: int
    day: Day
    names: Names
    ignored: Mapping[str, int] = field(default_factory=dict)
    dead_lettered: Mapping[str, int] = field(default_factory=dict)

    @property
    def end(self) -> datetime:
        """When the last thing happened."""
        return max((change.at for change in self.changes), default=self.day.moment("00:00"))

    def at(self, moment: str | datetime) -> ListThen:
        """The list as it stood then: what was known by `moment`, and no more."""
        return list_at(self.changes, self.day.moment(moment), self.day, self.names)

    def assert_rank(self, study: str) -> Rank:
        """Of a study, by its accession number, order number, name or UID; at the end of the log, unless `.at` says when."""
        return Rank(self, self._known(study), self.end)

    def assert_not_listed(self, study: str, at: str | datetime | None = None) -> None:
        """The study is not to be read (any more, or yet) at that time."""
        __tracebackhide__ = True
        then = self.at(at or self.end)
        if found := then.find(self._known(study)):
            _fail(f"{study} is still listed at {self.day.words(then.at)}, as {ordinal(found.place)}", self, study, then)

    def assert_no_escalation_before(self, moment: str | datetime, study: str | None = None) -> None:
        """Nobody was alerted before then, about this study or about any."""
        __tracebackhide__ = True
        limit = self.day.moment(moment)
        early = [alert for alert in self._alerts(study) if alert.at < limit]
        if early:
            concerned = {alert.alert_id for alert in early}
            before = [alert for alert in self.escalations if alert.alert_id in concerned and alert.at < limit]
            lines = "\n".join(f"  {self.day.words(one.at)}  {self._called(one.study_uid)}  {one.step}: {one.reason}" for one in before)
            _fail(f"escalated before {self.day.words(limit)}:\n{lines}", self, study, self.at(early[0].at))

    def assert_escalated(self, study: str, before: str | datetime) -> None:
        """Somebody was alerted about this study before then."""
        __tracebackhide__ = True
        limit = self.day.moment(before)
        if not any(alert.at < limit for alert in self._alerts(study)):
            _fail(f"nobody was alerted about {study} before {self.day.words(limit)}", self, study, self.at(limit))

    def history(self, study: str, until: datetime | None = None) -> list[Change]:
        """What moved a study, oldest first."""
        return [change for change in self.changes if self.names.means(study, change.item) and (until is None or change.at <= until)]

    def _alerts(self, study: str | None) -> list[Alert]:
        """The steps by which somebody was told."""
        told = [alert for alert in self.escalations if alert.step in _TELLING]
        if study is None:
            return told
        uids = {change.item.study.study_uid for change in self.history(self._known(study))}
        return [alert for alert in told if alert.study_uid in uids]

    def _known(self, study: str) -> str:
        """Raises WrittenWrong for a study that never was on the list: an assertion about it would hold for the wrong reason."""
        if self.history(study):
            return study
        called = list(dict.fromkeys(self.names.of(change.item) for change in self.changes))
        raise WrittenWrong(f"no study was ever called {study!r}{did_you_mean(study, called)}; there are: {', '.join(called) or 'none'}")

    def _called(self, study_uid: str) -> str:
        items = (change.item for change in self.changes if change.item.study.study_uid == study_uid)
        item = next(items, None)
        return self.names.of(item) if item else study_uid


@dataclass(frozen=True, slots=True)
class Rank:
    """An assertion about one study at one moment; each method returns it, so that assertions can be strung together."""

    played: Played
    study: str
    moment: datetime

    def at(self, moment: str | datetime) -> Self:
        """From here on, the list as it stood then."""
        return replace(self, moment=self.played.day.moment(moment))

    def is_top(self, places: int) -> Self:
        """Among the first `places` to be read."""
        __tracebackhide__ = True
        row = self._row()
        if row.place > places:
            self._fail(f"is {ordinal(row.place)} of {len(self._then().rows)}, not among the first {places}")
        return self

    def is_at(self, place: int) -> Self:
        """Exactly there; 1 is read first."""
        __tracebackhide__ = True
        row = self._row()
        if row.place != place:
            self._fail(f"is {ordinal(row.place)} of {len(self._then().rows)}, not {ordinal(place)}")
        return self

    def is_above(self, other: str) -> Self:
        """To be read before `other`; both are listed."""
        __tracebackhide__ = True
        row, theirs = self._row(), self._row(other)
        if row.place > theirs.place:
            self._fail(f"is {ordinal(row.place)}, below {other}, which is {ordinal(theirs.place)}", other)
        return self

    def is_below(self, other: str) -> Self:
        """To be read after `other`; both are listed."""
        __tracebackhide__ = True
        row, theirs = self._row(), self._row(other)
        if row.place < theirs.place:
            self._fail(f"is {ordinal(row.place)}, above {other}, which is {ordinal(theirs.place)}", other)
        return self

    def because(self, *words: str) -> Self:
        """Each of the words stands in its line of reasons, or in a reason that moves its deadline ("K 6.8", "stroke")."""
        __tracebackhide__ = True
        item = self._row().item
        for word in words:
            if not _says(item, word):
                self._fail(f"stands there for other reasons than {word!r}: {item.why}")
        return self

    def not_because(self, *words: str) -> Self:
        """None of the words stands in its reasons."""
        __tracebackhide__ = True
        item = self._row().item
        for word in words:
            if _says(item, word):
                self._fail(f"stands there because of {word!r}: {item.why}")
        return self

    def due_before(self, moment: str | datetime) -> Self:
        """Its deadline is earlier than that, or just then."""
        __tracebackhide__ = True
        limit, due = self.played.day.moment(moment), self._row().item.due_at
        if due > limit:
            self._fail(f"is due at {self.played.day.words(due)}, not before {self.played.day.words(limit)}")
        return self

    def due_after(self, moment: str | datetime) -> Self:
        """Its deadline is later than that."""
        __tracebackhide__ = True
        limit, due = self.played.day.moment(moment), self._row().item.due_at
        if due <= limit:
            self._fail(f"is due at {self.played.day.words(due)}, not after {self.played.day.words(limit)}")
        return self

    def is_degraded(self, degraded: bool = True) -> Self:
        """No model was asked, or it did not answer."""
        __tracebackhide__ = True
        if self._row().item.degraded != degraded:
            self._fail("is degraded" if not degraded else "is not marked as degraded")
        return self

    def _then(self) -> ListThen:
        return self.played.at(self.moment)

    def _row(self, study: str | None = None) -> Row:
        __tracebackhide__ = True
        name = study or self.study
        if (found := self._then().find(self.played._known(name))) is None:
            last = next(reversed(self.played.history(name, self.moment)), None)
            why = "has not come yet" if last is None else f"was closed ({last.item.study.closed})"
            _fail(f"{name} is not listed at {self.played.day.words(self.moment)}: it {why}", self.played, name, self._then())
        return found

    def _fail(self, what: str, *others: str) -> NoReturn:
        __tracebackhide__ = True
        _fail(f"{self.study} {what}, at {self.played.day.words(self.moment)}", self.played, self.study, self._then(), others)


def ordinal(number: int) -> str:
    """ "1st"."""
    last = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{last}"


def _says(item: WorklistItem, words: str) -> bool:
    lines = [item.why, *(reason.evidence.label for reason in item.reasons if reason.minutes > 0 or reason.binding)]
    return any(words.casefold() in line.casefold() for line in lines)


def _fail(what: str, played: Played, study: str | None, then: ListThen, others: Sequence[str] = ()) -> NoReturn:
    __tracebackhide__ = True
    parts = [what, f"\nThe list at {played.day.words(then.at)}:", then.table([name for name in (study, *others) if name])]
    if study is not None and (history := played.history(study, then.at)):
        lines = [f"  {played.day.words(c.at)}  due {played.day.words(c.item.due_at)}  {c.cause}" for c in history[-_SHOWN_CHANGES:]]
        parts += [f"\nWhat moved {study} until then:", *lines]
    raise AssertionError("\n".join(parts))
