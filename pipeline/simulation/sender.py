"""Sends one message through the gateway it is meant for, over the real protocol, and says what became of it."""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx
from pydicom.dataset import Dataset

from pipeline.adapters.dicom.client import StorageClient
from pipeline.adapters.hl7v2 import acknowledgement
from pipeline.adapters.hl7v2.client import MllpClient
from pipeline.errors import Refused, Unavailable
from pipeline.settings import Gateways
from pipeline.simulation.messages import Outgoing

IGNORED = "ignored: "


@dataclass(frozen=True, slots=True)
class Answer:
    """A final answer."""

    outcome: Literal["accepted", "refused", "ignored"]
    reason: str | None = None


class Sender:
    """One line to each gateway. Use as an async context manager; not for several messages at once."""

    def __init__(self, gateways: Gateways) -> None:
        self._mllp = MllpClient(gateways.host, gateways.mllp_port)
        self._storage = StorageClient(gateways.host, gateways.dicom_port, gateways.ae_title)
        self._http = httpx.AsyncClient(base_url=f"http://{gateways.host}:{gateways.http_port}", timeout=120)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._mllp.close()
        await asyncio.to_thread(self._storage.close)
        await self._http.aclose()

    async def send(self, message: Outgoing) -> Answer:
        """Raises Unavailable when no final answer came: send again."""
        if message.hl7 is not None:
            return await self._send_hl7(message.hl7)
        if message.fhir is not None:
            return await self._send_fhir(message.fhir)
        if message.dicom is not None:
            return await asyncio.to_thread(self._store, message.dicom)
        return await self._send_file(message.file or b"")

    async def _send_hl7(self, body: bytes) -> Answer:
        answer = await self._mllp.send(body)
        acks = acknowledgement.read(answer) if answer else []
        if any(ack.try_again for ack in acks):
            raise Unavailable("the gateway could not store the message now")
        worst = next((ack for ack in acks if ack.outcome == "refused"), acks[0] if acks else None)
        return Answer(worst.outcome, _reason(worst.text)) if worst else Answer("accepted")

    async def _send_fhir(self, body: bytes) -> Answer:
        response = await self._post("/fhir", body, "application/fhir+json")
        outcomes = [_diagnostics(entry) for entry in _entries(response)]
        if response.status_code >= 400:
            return Answer("refused", outcomes[0] if outcomes else f"HTTP {response.status_code}")
        if any(text.startswith("accepted") for text in outcomes):
            return Answer("accepted")
        refused = next((text for text in outcomes if text.startswith("refused")), None)
        return Answer("refused", refused) if refused else Answer("ignored", _reason(outcomes[0]) if outcomes else "empty")

    async def _send_file(self, body: bytes) -> Answer:
        """C-STORE; what is no readable DICOM file goes to STOW-RS as it is, so that the gateway judges it, not the sender."""
        path = await asyncio.to_thread(_temporary, body)
        try:
            return await asyncio.to_thread(self._store, path)
        except Refused:
            return await self._stow(body)
        finally:
            path.unlink(missing_ok=True)

    def _store(self, source: Path | Dataset) -> Answer:
        sent = self._storage.send_file(source)
        if sent.outcome == "try-again":
            raise Unavailable(sent.comment or "the gateway could not store the object now")
        if sent.outcome == "refused":
            return Answer("refused", sent.comment or f"status {sent.status:#06x}")
        if sent.comment and sent.comment.startswith(IGNORED):
            return Answer("ignored", _reason(sent.comment))
        return Answer("accepted", sent.comment)

    async def _stow(self, body: bytes) -> Answer:
        boundary = "readfirst-boundary"
        part = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + body + f"\r\n--{boundary}--\r\n".encode()
        response = await self._post("/dicom-web/studies", part, f'multipart/related; type="application/dicom"; boundary={boundary}')
        if response.status_code not in (200, 202):
            return Answer("refused", _stow_comment(response, "00081198") or response.text[:200] or f"HTTP {response.status_code}")
        comment = _stow_comment(response, "00081199") or ""
        return Answer("ignored", _reason(comment)) if comment.startswith(IGNORED) else Answer("accepted")

    async def _post(self, path: str, body: bytes, content_type: str) -> httpx.Response:
        try:
            response = await self._http.post(path, content=body, headers={"content-type": content_type})
        except httpx.HTTPError as error:
            raise Unavailable(f"the HTTP gateway does not answer ({type(error).__name__})") from error
        if response.status_code == 503:
            raise Unavailable("the HTTP gateway could not store the message now")
        return response


def _temporary(body: bytes) -> Path:
    descriptor, name = tempfile.mkstemp(suffix=".dcm")
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(body)
    return Path(name)


def _reason(text: str) -> str | None:
    return text.removeprefix(IGNORED) or None


def _entries(response: httpx.Response) -> list[dict[str, Any]]:
    try:
        body = response.json()
    except ValueError:
        return []
    return [each["response"]["outcome"] for each in body["entry"]] if body.get("resourceType") == "Bundle" else [body]


def _diagnostics(outcome: dict[str, Any]) -> str:
    return str(next((issue.get("diagnostics") or issue.get("code") for issue in outcome.get("issue", [])), ""))


def _stow_comment(response: httpx.Response, sequence: str) -> str | None:
    """Error Comment (0000,0902) of the first item of the Failed (0008,1198) or Referenced SOP Sequence (0008,1199)."""
    try:
        return str(response.json()[sequence]["Value"][0]["00000902"]["Value"][0])
    except (ValueError, KeyError, IndexError, TypeError):
        return None
