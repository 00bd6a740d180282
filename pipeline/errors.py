"""The error tree, split by what the caller does next.

ReadfirstError
  InvalidMessage      the input cannot be understood: dead-letter it (or refuse it at the edge), never retry
    Refused           refused at the edge with the protocol's own negative answer
  Unavailable         something outside is down or slow: answer "try again", retry later
  Fenced              another worker owns this partition now: drop memory and read again
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


class Unavailable(ReadfirstError):
    """Kafka, Postgres, Triton or the object store did not answer in time: nothing was acknowledged, try again."""


class Fenced(ReadfirstError):
    """The applied offset moved under us: another worker owns the partition."""


class StackError(ReadfirstError):
    """The local stack could not do what was asked; `remedy` says what the person can do about it."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class NotFound(ReadfirstError):
    """The study, patient, dead letter or file that was asked for does not exist."""


class Conflict(ReadfirstError):
    """Another reader or a newer version was first."""
