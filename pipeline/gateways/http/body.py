"""A request's body as it comes, from a sender that may be slow or gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

CHUNK_WITHIN_S = 60.0


async def chunks(request: Request) -> AsyncIterator[bytes]:
    """The body's pieces. Raises HTTPException where the sender stops in the middle: it is not waited for."""
    stream = request.stream().__aiter__()
    while True:
        try:
            async with asyncio.timeout(CHUNK_WITHIN_S):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise HTTPException(408, "the body did not arrive in time") from None
        except ClientDisconnect:
            raise HTTPException(400, "the sender went away") from None
        yield chunk
