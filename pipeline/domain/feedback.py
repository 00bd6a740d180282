"""What readers say of an image model's findings, and what a picture counts as when they have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Verdict = Literal["agree", "disagree", "corrected"]
"""agree: the picture shows the finding. disagree: it does not. corrected: it does not, it shows `instead`."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """A reader's word on one finding of one picture. picture: SOP Instance UID. probability: the model's, as it was told."""

    study_uid: str
    picture: str
    finding: str
    verdict: Verdict
    reader: str
    at: datetime
    head: str
    version: str
    probability: float
    instead: str | None = None

    @property
    def place(self) -> tuple[str, str, str]:
        """What it is about."""
        return self.study_uid, self.picture, self.finding


def newest(said: Iterable[Feedback]) -> list[Feedback]:
    """Each reader's last word on each finding, oldest first."""
    ordered = sorted(said, key=lambda one: one.at)
    last = {(one.place, one.reader): one for one in ordered}
    return sorted(last.values(), key=lambda one: one.at)


def outcomes(said: Iterable[Feedback]) -> dict[tuple[str, str, str], bool | None]:
    """Whether each picture shows the finding; None where readers contradict each other, which proves neither."""
    found: dict[tuple[str, str, str], set[bool]] = {}
    for one in newest(said):
        found.setdefault(one.place, set()).add(one.verdict == "agree")
    return {place: answers.pop() if len(answers) == 1 else None for place, answers in found.items()}
