"""Named queries: reads the .sql files beside it, each query headed by `-- name: <name>` and a line of intent."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import LiteralString, cast

_HEAD = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


class Queries:
    """The queries of one file, as attributes; an unknown name is an AttributeError."""

    def __init__(self, file: str) -> None:
        parts = _HEAD.split((files(__package__) / f"{file}.sql").read_text("utf-8"))
        names, bodies = parts[1::2], parts[2::2]
        if len(set(names)) != len(names):
            raise ValueError(f"{file}.sql names a query twice")
        self._queries = {name: _without_comments(body) for name, body in zip(names, bodies, strict=True)}

    def __getattr__(self, name: str) -> LiteralString:
        try:
            # our own files, never a caller's text: as trustworthy as a literal
            return cast(LiteralString, self.__dict__["_queries"][name])
        except KeyError:
            raise AttributeError(f"no query named {name}") from None


def _without_comments(body: str) -> str:
    return "\n".join(line for line in body.splitlines() if not line.startswith("--")).strip()
