"""A C-STORE client that sends objects as they are, in their own transfer syntax, over one association for as long as it can."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, _config, build_context
from pynetdicom.association import Association
from pynetdicom.dsutils import split_dataset

from pipeline.errors import Refused, Unavailable

_CONTEXTS_MAX = 126
"""Presentation contexts in one association: odd ids below 256 (PS3.8 section 9.3.2.2)."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The peer's answer: status of C-STORE (PS3.4 table B.2-1) and its Error Comment."""

    status: int
    comment: str | None = None

    @property
    def outcome(self) -> Literal["accepted", "refused", "try-again"]:
        """Success and warnings mean that the peer has the object; A7xx that it could not take it now."""
        if self.status == 0 or 0xB000 <= self.status <= 0xBFFF:
            return "accepted"
        return "try-again" if 0xA700 <= self.status <= 0xA7FF else "refused"


class StorageClient:
    """Sends to one peer. Not for several threads at once."""

    def __init__(self, host: str, port: int, called: str = "READFIRST", calling: str = "RF_SEND", timeout_s: float = 60.0) -> None:
        # Files are passed on in pieces and undecoded: nothing is mended on the way, and their size does not matter.
        _config.STORE_SEND_CHUNKED_DATASET = True
        self._host, self._port, self._called = host, port, called
        self._entity = AE(calling)
        self._entity.acse_timeout = self._entity.dimse_timeout = self._entity.network_timeout = timeout_s
        self._entity.connection_timeout = 10
        self._wanted: dict[tuple[str, str], None] = {}
        self._association: Association | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Releases the association."""
        if self._association is not None and self._association.is_established:
            self._association.release()
        self._association = None

    def send_file(self, source: Path | Dataset) -> Sent:
        """Raises Refused for what cannot be sent at all, Unavailable when no answer comes (the peer may have it all the same)."""
        sop_class, syntax = _presentation(source)
        association = self._associate(sop_class, syntax)
        try:
            answer = association.send_c_store(source)
        except (AttributeError, ValueError, RuntimeError) as error:
            if not association.is_established:
                raise Unavailable("the peer ended the association") from error
            raise Refused("unsupported-type", "the object cannot be sent over this association") from error
        if "Status" not in answer:
            self._association = None
            raise Unavailable("the peer did not answer")
        return Sent(int(answer.Status), str(answer.ErrorComment) if "ErrorComment" in answer else None)

    def _associate(self, sop_class: str, syntax: str) -> Association:
        """The association at hand if it has a context for the object, else a new one that has; those asked for before come along."""
        current = self._association
        known = (sop_class, syntax) in self._wanted
        if known and current is not None and current.is_established:
            return current
        self.close()
        self._wanted[sop_class, syntax] = None
        while len(self._wanted) > _CONTEXTS_MAX:
            del self._wanted[next(iter(self._wanted))]
        # One syntax in each context: the peer cannot choose another for us, which would mean to transcode.
        contexts = [build_context(abstract, transfer) for abstract, transfer in self._wanted]
        association = self._entity.associate(self._host, self._port, contexts=contexts, ae_title=self._called)
        if association.rejected_contexts and not association.accepted_contexts:
            self._wanted.clear()
            raise Refused("unsupported-type", "the peer takes no objects of this SOP class and transfer syntax")
        if not association.is_established:
            raise Unavailable("the peer rejected the association" if association.is_rejected else "the peer cannot be reached")
        self._association = association
        return association


def _presentation(source: Path | Dataset) -> tuple[str, str]:
    try:
        meta = source.file_meta if isinstance(source, Dataset) else split_dataset(source)[0]
        found = [str(meta[keyword].value) for keyword in ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")]
    except OSError as error:
        raise Refused("malformed", f"the file cannot be read: {error.strerror}" if error.errno else "not a DICOM file") from error
    except Exception as error:  # whatever pydicom raises on what is no DICOM file
        raise Refused("malformed", "not a DICOM file, or its file meta information is incomplete") from error
    if not all(UID(uid).is_valid for uid in found):
        raise Refused("malformed", "the file meta information holds an invalid UID")
    return found[0], found[2]
