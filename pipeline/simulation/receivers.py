"""Where the demo's alerts arrive: a webhook receiver that checks signatures and knows repeats, and a mail sink, both on loopback."""

from __future__ import annotations

import email
import email.policy
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import msgspec
from aiosmtpd.controller import Controller

from pipeline.adapters.local.network import Reservations
from pipeline.adapters.notify.webhook import is_genuine

HOST = "127.0.0.1"
BODY_MAX = 64 << 10


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message as it came in. repeat: it says of itself that it may have come before; again: it has."""

    by: str
    key: str
    role: str
    subject: str
    text: str
    repeat: bool
    again: bool


Heard = Callable[[Arrived], None]


class _Receiver:
    """What both share: they keep what arrived, and tell it."""

    def __init__(self, heard: Heard = lambda arrived: None) -> None:
        self.received: list[Arrived] = []
        self._heard = heard
        self._keys: set[str] = set()
        self._lock = threading.Lock()

    def take(self, by: str, key: str, role: str, subject: str, text: str, repeat: bool) -> None:
        """Called from the servers' threads."""
        with self._lock:
            arrived = Arrived(by, key, role, subject, text, repeat, key in self._keys)
            self._keys.add(key)
            self.received.append(arrived)
        self._heard(arrived)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # with the usual 5, senders that come together wait for a second each

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that was killed in mid-request is what is tested; there is nothing to tell."""


class WebhookReceiver(_Receiver):
    """An HTTP server; 204 for a genuine message, 401 for another. Use as a context manager."""

    def __init__(self, heard: Heard = lambda arrived: None) -> None:
        super().__init__(heard)
        self.secret = secrets.token_hex(16)
        self._server = _Server((HOST, 0), self._handler())

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self._server.server_address[1]}/alerts"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="webhook-receiver", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), BODY_MAX))
                headers = {name.lower(): value for name, value in self.headers.items()}
                genuine = is_genuine(receiver.secret, headers, body, datetime.now(UTC))
                self.send_response(204 if genuine else 401)
                self.send_header("Content-Length", "0")
                self.end_headers()
                if genuine:
                    told = msgspec.json.decode(body)
                    receiver.take("webhook", headers["idempotency-key"], told["role"], told["subject"], told["text"], told["repeat"])

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


class MailSink(_Receiver):
    """An SMTP server that takes every mail. Use as a context manager."""

    def __init__(self, heard: Heard = lambda arrived: None) -> None:
        super().__init__(heard)
        self._reserved = Reservations()
        self.port = self._reserved.another(HOST)
        self._controller = Controller(self, hostname=HOST, port=self.port)

    @property
    def url(self) -> str:
        """As apprise writes it."""
        return f"mailto://{HOST}:{self.port}?from=readfirst@localhost.example&to=oncall@localhost.example&mode=insecure&format=text"

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._controller.stop()
        self._reserved.release()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """aiosmtpd's hook."""
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        part = mail.get_body(("plain",))
        text = part.get_content() if part is not None else ""
        named = dict(re.findall(r"^(For|Reference): (\S+)", text, re.MULTILINE))
        self.take("mail", named.get("Reference", ""), named.get("For", ""), str(mail["Subject"]), text, "sent before" in text)
        return "250 OK"
