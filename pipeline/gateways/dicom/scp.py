"""The DICOM SCP: Verification, Storage (PS3.4 annex B), MPPS (annex F) and Instance Availability Notification (annex R)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import structlog
from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.sop_class import (
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    Verification,
)

from pipeline.adapters.objects.local import LocalObjectStore
from pipeline.errors import InvalidMessage, Unavailable
from pipeline.gateways.dicom import procedure_steps
from pipeline.gateways.dicom.guard import Bounds, GuardedEntity, GuardedServer, prepare_pynetdicom
from pipeline.gateways.dicom.reception import Needs, Reception
from pipeline.settings import Settings

log = structlog.get_logger()

Result = TypeVar("Result")

SUCCESS = 0x0000
# Storage, PS3.4 table B.2-1
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000

ANSWER_WITHIN_S = 30.0
"""Longest wait for object store, vault and Kafka before the sender is told to try again."""

_COMMENT_MAX = 64


class DicomGateway:
    """A running SCP. `port` is the one it listens on (useful with setting 0)."""

    def __init__(self, settings: Settings, needs: Needs) -> None:
        gateways = settings.gateways
        self._reception = Reception(gateways, needs)
        self._completion = self._reception.completion
        self._steps = procedure_steps.ProcedureSteps(
            self._completion, needs.studies, needs.site_key, gateways.assigning_authority, needs.clock
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._own_loop: threading.Thread | None = None
        self._watch: asyncio.Task[None] | None = None
        self._incoming = settings.data / "incoming" / "dicom"
        prepare_pynetdicom(self._incoming)
        for leftover in self._incoming.glob("*.dcm"):  # of transfers that a killed gateway had not answered
            leftover.unlink(missing_ok=True)
        self._entity = GuardedEntity(
            gateways.ae_title, Bounds(gateways.dicom_pdu_max_bytes, gateways.object_max_bytes, gateways.dicom_associations_max)
        )
        self._entity.acse_timeout, self._entity.dimse_timeout, self._entity.network_timeout = 10, 30, 60
        self._entity.require_called_aet = gateways.dicom_require_called_ae_title
        for service in (Verification, ModalityPerformedProcedureStep, InstanceAvailabilityNotification):
            self._entity.add_supported_context(service)
        handlers = [
            (evt.EVT_C_ECHO, lambda _event: SUCCESS),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_CREATE, self._create),
            (evt.EVT_N_SET, self._set),
        ]
        self._server: GuardedServer = self._entity.make_server(
            (gateways.host, gateways.dicom_port), evt_handlers=handlers, server_class=GuardedServer
        )
        self._entity._servers.append(self._server)
        self.port: int = self._server.server_address[1]

    def start(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Begins to accept. loop: where the ports' coroutines run; None makes one in a thread of its own."""
        self._loop = loop or asyncio.new_event_loop()
        if loop is None:
            self._own_loop = threading.Thread(target=self._loop.run_forever, name="dicom-intake", daemon=True)
            self._own_loop.start()
        self._loop.call_soon_threadsafe(self._begin_watch, self._loop)
        threading.Thread(target=self._server.serve_forever, name="dicom-listener", daemon=True).start()
        log.info("dicom_gateway_listening", port=self.port)

    def stop(self, grace_s: float = 5.0) -> None:
        """Stops accepting, lets running transfers end for `grace_s`, aborts the rest. Not from the loop's own thread: see `aclose`."""
        self._server.shutdown()
        until = time.monotonic() + grace_s
        while self._server.established and time.monotonic() < until:
            time.sleep(0.05)
        for assoc in self._server.established:
            assoc.abort()
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._end_watch(), self._loop).result(grace_s + ANSWER_WITHIN_S)
        if self._loop is not None and self._own_loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._own_loop.join(timeout=grace_s)
        log.info("dicom_gateway_stopped")

    async def aclose(self, grace_s: float = 5.0) -> None:
        """As `stop`, from the loop that serves the ports: transfers that are running may still use it."""
        await asyncio.to_thread(self.stop, grace_s)

    def _begin_watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watch = loop.create_task(self._completion.watch(), name="quiet-studies")

    async def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    def _store(self, event: evt.Event) -> Dataset:
        request = event.request
        coming = self._reception.receive(Path(event.dataset_path), str(event.assoc.requestor.ae_title), str(request.AffectedSOPInstanceUID))
        try:
            outcome = self._call(coming)
        except InvalidMessage as refusal:
            return _status(CANNOT_UNDERSTAND, f"{refusal.reason}: {refusal.explanation}")
        except (Unavailable, TimeoutError):
            return _status(OUT_OF_RESOURCES, "try again later")
        except Exception:  # a fault of ours: the sender keeps the object and tries again
            log.exception("dicom_store_failed")
            return _status(OUT_OF_RESOURCES, "internal error, try again later")
        return _status(SUCCESS, f"ignored: {outcome.reason}" if outcome.outcome == "ignored" else "")

    def _create(self, event: evt.Event) -> tuple[Dataset, Dataset | None]:
        request = event.request
        service = self._steps.notify if request.AffectedSOPClassUID == InstanceAvailabilityNotification else self._steps.create
        uid = str(request.AffectedSOPInstanceUID or "")
        return self._answer(lambda: service(uid, event.attribute_list, str(event.assoc.requestor.ae_title)))

    def _set(self, event: evt.Event) -> tuple[Dataset, Dataset | None]:
        return self._answer(lambda: self._steps.set(str(event.request.RequestedSOPInstanceUID), event.modification_list))

    def _answer(self, begin: Any) -> tuple[Dataset, Dataset | None]:
        try:
            answer = self._call(begin())
        except (Unavailable, TimeoutError):
            answer = procedure_steps.Answer(procedure_steps.RESOURCE_LIMITATION, "try again later")
        except Exception:  # pydicom raises many kinds on a broken attribute list; a fault of ours is answered alike
            log.exception("dicom_notification_failed")
            answer = procedure_steps.Answer(procedure_steps.PROCESSING_FAILURE, "cannot be processed")
        status = _status(answer.status, answer.comment)
        if answer.error_id is not None:
            status.ErrorID = answer.error_id
        return status, Dataset() if answer.status == SUCCESS else None

    def _call(self, coming: Coroutine[Any, Any, Result]) -> Result:
        if self._loop is None:
            coming.close()
            raise Unavailable("the gateway is not running")
        future = asyncio.run_coroutine_threadsafe(coming, self._loop)
        try:
            return future.result(ANSWER_WITHIN_S)
        except TimeoutError:
            future.cancel()
            raise


def _status(status: int, comment: str = "") -> Dataset:
    answer = Dataset()
    answer.Status = status
    if comment:
        answer.ErrorComment = comment[:_COMMENT_MAX]
    return answer


def serve(settings: Settings, needs: Needs) -> DicomGateway:
    """Starts the SCP. Called on a running loop, that loop serves the ports; else the gateway makes a loop in a thread of its own.

    Raises OSError when the port is taken.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if isinstance(needs.objects, LocalObjectStore):
        needs.objects.discard_abandoned(needs.clock.now().timestamp())
    gateway = DicomGateway(settings, needs)
    gateway.start(loop)
    return gateway
