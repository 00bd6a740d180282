"""Who sends, by HTTP: it says so itself, for neither FHIR nor STOW-RS has a field for it."""

from __future__ import annotations

from collections.abc import Mapping

HEADER = "X-Readfirst-Source"
_LONGEST = 64


def source(headers: Mapping[str, str], otherwise: str) -> str:
    """The name that the request gives, by which its zone is looked up and its messages are counted; `otherwise` where it gives none.

    headers: case-insensitive, as Starlette's are.
    """
    return headers.get(HEADER, otherwise)[:_LONGEST]
