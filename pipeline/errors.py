"""The error tree, split by what the caller does next.

ReadfirstError
  InvalidMessage      the input cannot be understood: dead-letter it (or refuse it at the edge), never retry
    Refused           refused at the edge with the protocol's own negative answer
  UnfitPicture        a picture that the model must not judge: say so as a missing input, never retry
  Unavailable         something outside is down or slow: answer "try again", retry later
  Fenced              another worker owns this partition now: drop memory and read again
  SiteFileRefused     the site file has faults: the rules in force stay, tell the person each fault
  StackError          the local stack cannot start or run: tell the person what to do
  NotFound            what was asked for is not there
  Conflict            somebody else was first (claim, version)
"""

from __future__ import annotations


class ReadfirstError(Exception):
    """Root of all errors that Readfirst raises on purpose."""


class InvalidMessage(ReadfirstError):
    """A record or message that cannot be understood.

    `reason` is a code of `schemas.dead_letter.Reason`; `explanation` is for a person and holds no patient data.
    """

    def __init__(self, reason: str, explanation: str) -> None:
        super().__init__(f"{reason}: {explanation}")
        self.reason = reason
        self.explanation = explanation


class Refused(InvalidMessage):
    """A message refused at the edge; the sender is told why in its own protocol."""


class UnfitPicture(ReadfirstError):
    """A picture that no model may judge. `reason` is a short stable code; `explanation` is for a person and holds no patient data."""

    def __init__(self, reason: str, explanation: str) -> None:
        super().__init__(reason, explanation)  # both, so that it survives the way from another process
        self.reason = reason
        self.explanation = explanation

    def __str__(self) -> str:
        return f"{self.reason}: {self.explanation}"


class Unavailable(ReadfirstError):
    """Kafka, Postgres, Triton or the object store did not answer in time: nothing was acknowledged, try again."""


class Fenced(ReadfirstError):
    """The applied offset moved under us: another worker owns the partition."""


class SiteFileRefused(ReadfirstError):
    """A site file that cannot be taken over. `faults`: one line each, with the place in the file."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("the site file is refused:\n  " + "\n  ".join(faults))
        self.faults = faults


class StackError(ReadfirstError):
    """The local stack could not do what was asked; `remedy` says what the person can do about it."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class NotFound(ReadfirstError):
    """The study, patient, dead letter or file that was asked for does not exist."""


class Conflict(ReadfirstError):
    """Another reader or a newer version was first."""
