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
    """A window in memory, and what of it is known outside: studies said to be closed, the digest of what was last said (None: unknown)."""

    window: Window
    closed: frozenset[str] = frozenset()
    digest: int | None = None

    @classmethod
    def derived(cls, history: Iterable[AnyEvent]) -> Held:
        """As it stood after what is committed: all of that has been said."""
        held = cls(Window.derive(history))
        held.note()
        return held

    def note(self) -> None:
        """What the window says now has been said."""
        studies = self.window.all_studies
        now_open = {study.study_uid for study in studies if study.closed is None}
        self.closed = (self.closed | {study.study_uid for study in studies}) - now_open
        self.window.trim()

    def to_say(self) -> list[StudyState]:
        """Open studies, and those that closed since they were last spoken of, however many and however old."""
        news = [study for study in self.window.all_studies if study.closed is not None and study.study_uid not in self.closed]
        return self.window.open_studies + news


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
