"""Runs the web application under uvicorn."""

from __future__ import annotations

import uvicorn
from starlette.types import ASGIApp

GRACE_S = 3


def server(app: ASGIApp, host: str, port: int) -> uvicorn.Server:
    """A server whose `serve()` ends within seconds of SIGTERM even with streams open: sse-starlette closes them, and the grace is short.

    Access logs are off: study identifiers stand in the paths.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=30,
        lifespan="on",
    )
    return uvicorn.Server(config)
