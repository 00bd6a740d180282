"""The windows a worker holds in memory: of patients with studies to read, the most recently touched ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.domain.window import Window
from schemas.assessments import StudyState
from schemas.events import AnyEvent

IDLE_FACTOR = 10
"""So many times more patients are remembered as having nothing to read than windows are held: a name weighs little."""


@dataclass(slots=True)
class Held:
    """A window in memory, and what of it is known outside: closed studies with a digest of what was said of each, the digest of what was
    last said of the open ones (None: unknown)."""

    window: Window
    closed: Mapping[str, int] = field(default_factory=dict)
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
        said = {**self.closed, **{study.study_uid: _after_closing(study) for study in studies}}
        self.closed = {uid: digest for uid, digest in said.items() if uid not in now_open}
        self.window.trim()

    def to_say(self) -> list[StudyState]:
        """Open studies, and those that closed or got other words or findings since they were last spoken of, however many, however old."""
        closed = [study for study in self.window.all_studies if study.closed is not None]
        news = [study for study in closed if self.closed.get(study.study_uid) != _after_closing(study)]
        return self.window.open_studies + news


def _after_closing(study: StudyState) -> int:
    """Of what still matters once a study is read: whether its reports contradict each other or an image model, and rejected images."""
    return hash((study.reported, study.revised, study.image, study.rejected))


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

    def patients(self) -> list[str]:
        """All whose windows are held, the least recently touched first."""
        return list(self._held)

    @property
    def newest(self) -> Window | None:
        """The most recently touched one."""
        return self._held[next(reversed(self._held))].window if self._held else None

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

    def unsaid(self, patients: Iterable[str]) -> None:
        """Nobody knows whether what these windows say has got out."""
        for patient in patients:
            if (held := self._held.get(patient)) is not None:
                held.digest = None

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
