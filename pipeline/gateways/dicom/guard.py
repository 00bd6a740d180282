"""pynetdicom's server with bounds: what a peer that is hostile or broken can make it hold in memory, on disk and in open connections.

pynetdicom 3.0.4 reads as many bytes as a PDU announces, waits for ever for the rest of it, counts half-open sockets as associations, and
leaves the temporary file of an aborted transfer behind (pynetdicom issue 1086).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import structlog
from pynetdicom import _config, dimse_messages, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Bounds:
    """pdu_bytes: longest PDU of an established peer. request_bytes: longest before that. object_bytes: longest C-STORE data set.

    command_bytes: longest command, and longest data set of any other message. pdu_s: within which a PDU must be complete, plus what its
    length takes at `pace` bytes a second. queued: messages a peer may send ahead of our answers. half_open: connections that are no
    association yet; beyond it the oldest are closed.
    """

    pdu_bytes: int
    object_bytes: int
    associations: int
    request_bytes: int = 256 << 10
    command_bytes: int = 1 << 20
    pdu_s: float = 10.0
    pace: float = 50_000.0
    queued: int = 4
    half_open: int = 32


class GuardedEntity(ApplicationEntity):  # type: ignore[misc]
    """An application entity that knows its bounds."""

    def __init__(self, ae_title: str, bounds: Bounds) -> None:
        super().__init__(ae_title)
        self.bounds = bounds
        self.maximum_pdu_size = bounds.pdu_bytes
        # The number of associations is checked in GuardedServer.admit: here half-open connections would count.
        self.maximum_associations = 1_000_000


class GuardedSocket(AssociationSocket):  # type: ignore[misc]
    """Reads a PDU only if it is of a permitted length, arrives in time, and belongs to a message that is still within bounds."""

    def recv(self, nr_bytes: int) -> bytearray:
        """As AssociationSocket.recv; raises OSError, upon which pynetdicom closes the connection."""
        bounds = cast(GuardedEntity, self.assoc.ae).bounds
        self._check(nr_bytes, bounds)
        connection = self.socket
        if connection is None:
            raise OSError("the connection is closed")
        received, deadline = bytearray(), time.monotonic() + bounds.pdu_s + nr_bytes / bounds.pace
        before = connection.gettimeout()
        try:
            while len(received) < nr_bytes:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the PDU was not complete in time")
                connection.settimeout(left)
                piece = connection.recv(min(256 << 10, nr_bytes - len(received)))
                if not piece:
                    break
                received += piece
        finally:
            with contextlib.suppress(OSError):
                connection.settimeout(before)
        return received

    def _check(self, nr_bytes: int, bounds: Bounds) -> None:
        # 1 KiB: the headers of the presentation data values in a PDU of the agreed maximum.
        longest = bounds.pdu_bytes + 1024 if self.assoc.is_established else bounds.request_bytes
        if nr_bytes > longest:
            self._cut("pdu-too-long")
        message = self.assoc.dimse.message
        if self.assoc.dimse.msg_queue.qsize() > bounds.queued:
            self._cut("too-many-messages-ahead")
        if message is None:
            return
        file = message._data_set_file
        if file is not None and file.tell() > bounds.object_bytes:
            self._cut("object-too-large")
        held = message.encoded_command_set.tell() + (message.data_set.tell() if message.data_set is not None else 0)
        if held > bounds.command_bytes:
            self._cut("message-too-large")

    def _cut(self, reason: str) -> None:
        log.warning("dicom_connection_cut", reason=reason)
        raise OSError(reason)


class GuardedHandler(RequestHandler):  # type: ignore[misc]
    """Gives each association the guarded socket and makes it known to the server."""

    def _create_association(self) -> Association:
        assoc = super()._create_association()
        cast(AssociationSocket, assoc.dul.socket).__class__ = GuardedSocket
        cast(GuardedServer, self.server).connected(assoc)
        return assoc


class GuardedServer(ThreadedAssociationServer):  # type: ignore[misc]
    """Counts associations and half-open connections apart, and cleans up after both."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, ae: GuardedEntity, *arguments: Any, **options: Any) -> None:
        self._bounds = ae.bounds
        self._known: dict[Association, float] = {}
        self._known_lock = threading.Lock()
        super().__init__(ae, *arguments, request_handler=GuardedHandler, **options)
        self.bind(evt.EVT_REQUESTED, self.admit)

    def connected(self, assoc: Association) -> None:
        """A new connection, which nobody has asked anything of yet."""
        with self._known_lock:
            self._known[assoc] = time.monotonic()

    def admit(self, event: evt.Event) -> None:
        """Rejects an association beyond the limit: local limit exceeded, transient (PS3.8 section 9.3.4)."""
        if len(self.established) >= self._bounds.associations:
            log.warning("dicom_association_rejected", reason="too-many-associations")
            event.assoc.acse.send_reject(0x02, 0x03, 0x02)
            event.assoc.kill()

    @property
    def established(self) -> list[Association]:
        """The associations that were accepted and have not ended."""
        return [assoc for assoc in self._alive() if assoc.is_established]

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Makes room for a new connection by closing the half-open ones that have waited longest."""
        half_open = [assoc for assoc in self._alive() if not assoc.is_established]
        for assoc in half_open[: max(0, len(half_open) - self._bounds.half_open + 1)]:
            _hang_up(assoc)
        if len(half_open) >= 4 * self._bounds.half_open:  # those hung up take a moment to go
            log.warning("dicom_connection_cut", reason="too-many-half-open")
            return False
        return True

    def service_actions(self) -> None:
        """Called by the server's loop twice a second."""
        super().service_actions()
        with self._known_lock:
            gone = [assoc for assoc in self._known if assoc.ident is not None and not assoc.is_alive() and not assoc.dul.is_alive()]
            for assoc in gone:
                del self._known[assoc]
        for assoc in gone:
            _discard_files(assoc)

    def _alive(self) -> list[Association]:
        with self._known_lock:
            return [assoc for assoc in self._known if assoc.is_alive()]


def prepare_pynetdicom(incoming: Path) -> None:
    """Process-wide: data sets go to files in `incoming` as they arrive, any storage SOP class is taken, nothing is logged of contents."""
    incoming.mkdir(parents=True, exist_ok=True)
    _config.STORE_RECV_CHUNKED_DATASET = True
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    _config.LOG_HANDLER_LEVEL = "none"
    # Its tracebacks may quote what was being decoded; what matters of them is in our own log.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    dimse_messages.NamedTemporaryFile = functools.partial(tempfile.NamedTemporaryFile, dir=incoming)


def _hang_up(assoc: Association) -> None:
    wrapper = assoc.dul.socket
    if wrapper is not None and wrapper.socket is not None:
        with contextlib.suppress(OSError):
            wrapper.socket.shutdown(socket.SHUT_RDWR)


def _discard_files(assoc: Association) -> None:
    """What arrived of messages that nobody will handle any more."""
    message = assoc.dimse.message
    waiting = [request for _, request in list(assoc.dimse.msg_queue.queue) if request is not None]
    files = [getattr(message, "_data_set_file", None), *(getattr(request, "_dataset_file", None) for request in waiting)]
    for file in files:
        if file is not None:
            file.close()
            Path(file.name).unlink(missing_ok=True)
