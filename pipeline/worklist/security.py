"""What every answer carries for the browser's sake, and who may change state."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.worklist.problems import problem

REQUEST_HEADER = "x-readfirst-request"
"""A page of another origin cannot set it without a preflight, which is never granted: that is what stops cross-site POSTs."""

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)

HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "x-frame-options": "DENY",
}


HEALTH = ("/livez", "/readyz")


class KnownHosts(TrustedHostMiddleware):
    """Refuses names that are not ours, but answers probes, which ask by address, with no more than a word."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As TrustedHostMiddleware."""
        if scope["type"] == "http" and scope["path"] in HEALTH:
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class SecurityHeaders:
    """ASGI middleware (not BaseHTTPMiddleware, which would hold up the stream): headers on every answer, a check on every change."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses a change of state that the page did not send."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        if scope["method"] not in ("GET", "HEAD") and not _from_the_page(Headers(scope=scope)):
            refusal = problem(403, f"Changes need the header {REQUEST_HEADER} and must come from the worklist's own page.")
            await refusal(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)


def _from_the_page(headers: Headers) -> bool:
    """Sec-Fetch-Site is set by browsers only (Fetch Metadata, section 2.4); a command line client has none and is let through."""
    return REQUEST_HEADER in headers and headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
