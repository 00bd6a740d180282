"""Who is reading: a name that the reader gives. There is no sign-in yet, so it is a courtesy among colleagues, not a proof."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote, unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

COOKIE = "readfirst_reader"
HEADER = "x-readfirst-reader"
LONGEST = 60


def reader_of(request: Request) -> str | None:
    """The name in the header (for programs) or the cookie (for the page), percent-encoded UTF-8; None when there is none."""
    told = request.headers.get(HEADER) or request.cookies.get(COOKIE)
    if not told:
        return None
    try:
        return clean_name(unquote(told, errors="strict"))
    except UnicodeDecodeError:
        return None


def required_reader(request: Request) -> str:
    """The reader, or 401 for one who has not said."""
    reader = reader_of(request)
    if reader is None:
        raise HTTPException(401, "Say who you are first: the page asks once; programs send the header X-Readfirst-Reader.")
    return reader


def clean_name(name: object) -> str | None:
    """The name with single spaces, or None when it cannot be one: empty, too long, or with control characters."""
    if not isinstance(name, str):
        return None
    name = " ".join(unicodedata.normalize("NFC", name).split())
    usable = 0 < len(name) <= LONGEST and not any(unicodedata.category(letter) in ("Cc", "Cs", "Co", "Cn") for letter in name)
    return name if usable else None


def remember(response: Response, name: str | None, *, secure: bool) -> None:
    """Sets the cookie for a working day, or takes it away."""
    if name is None:
        response.delete_cookie(COOKIE, path="/", samesite="strict", httponly=True, secure=secure)
    else:
        response.set_cookie(COOKIE, quote(name), max_age=12 * 3600, path="/", samesite="strict", httponly=True, secure=secure)
