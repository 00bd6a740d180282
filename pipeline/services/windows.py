"""The windows a worker holds in memory: of patients with studies to read, the most recently touched ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.domain.window import Window
from schemas.assessments import StudyState
from schemas.events import AnyEvent

IDLE_FACTOR = 10
"""So many times more patients are remembered as having nothing to read than windows are held: a name weighs little."""


@dataclass(slots=True)
class Held:
    """A window in memory, and what is known of it outside: the studies last said to be open or closed, and the digest of what was said.

    digest None: not known.
    """

    window: Window
    open: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()
    digest: int | None = None

    @classmethod
    def derived(cls, history: Iterable[AnyEvent]) -> Held:
        """As it stood after what is committed: all of that has been said."""
        held = cls(Window.derive(history))
        held.note()
        return held

    def note(self) -> None:
        """What the window shows now has been said."""
        studies = self.window.studies
        self.open = frozenset(study.study_uid for study in studies if study.closed is None)
        self.closed = frozenset(study.study_uid for study in studies if study.closed is not None)
        self.window.trim()

    def to_say(self) -> list[StudyState]:
        """Open studies, and those that closed since they were last spoken of."""
        shown = self.window.studies
        gone = [self.window.find(uid) for uid in sorted(self.open.difference(study.study_uid for study in shown))]
        fresh = [study for study in shown if study.closed is None or study.study_uid not in self.closed]
        return fresh + [study for study in gone if study is not None]


class Windows:
    """Bounded; least recently touched goes. Dropping a window loses nothing: it is derived again from the facts."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._idle: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, patient: str) -> Held | None:
        """The window, now the most recently touched."""
        held = self._held.get(patient)
        if held is not None:
            self._held.move_to_end(patient)
        return held

    def put(self, patient: str, held: Held) -> None:
        """Holds a window."""
        self._idle.pop(patient, None)
        self._held[patient] = held
        self._held.move_to_end(patient)

    def idle(self, patient: str) -> bool:
        """Whether it is known that the patient has nothing to read."""
        return patient in self._idle

    def rest(self, patient: str) -> None:
        """The patient has nothing to read: the window goes, the knowledge stays."""
        self._held.pop(patient, None)
        self._idle[patient] = None
        self._idle.move_to_end(patient)

    def drop(self, patients: Iterable[str]) -> None:
        """Forgets these patients."""
        for patient in patients:
            self._held.pop(patient, None)
            self._idle.pop(patient, None)

    def clear(self) -> None:
        """Forgets everybody."""
        self._held.clear()
        self._idle.clear()

    def trim(self) -> None:
        """Back to the bound; called between batches, so that a batch never loses what it needs."""
        while len(self._held) > self._most:
            self._held.popitem(last=False)
        while len(self._idle) > self._most * IDLE_FACTOR:
            self._idle.popitem(last=False)
