"""DICOM objects in memory."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable

from pipeline.errors import NotFound, Unavailable
from pipeline.ports import StoredObject


class MemoryObjectStore:
    """ObjectStore."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._variants: defaultdict[str, defaultdict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
        self._failing = 0

    def fail_next(self, times: int = 1) -> None:
        """The next puts raise Unavailable, as a full disk would."""
        self._failing += times

    async def put(self, study_uid: str, series_uid: str, sop_uid: str, chunks: Iterable[bytes]) -> StoredObject:
        """As ObjectStore.put."""
        if self._failing:
            self._failing -= 1
            raise Unavailable("no space left (ordered by the test)")
        body = b"".join(chunks)
        digest = hashlib.sha256(body).hexdigest()
        study = self._variants[study_uid]
        variants = study[sop_uid]
        outcome = "same" if digest in variants else ("conflict" if variants else "new")
        suffix = f".{digest[:12]}" if outcome == "conflict" else ""
        uri = variants.setdefault(digest, f"memory:{study_uid}/{series_uid}/{sop_uid}{suffix}")
        self._objects[uri] = body
        return StoredObject(uri, digest, len(body), outcome, len(study))

    async def get(self, uri: str) -> bytes:
        """As ObjectStore.get."""
        try:
            return self._objects[uri]
        except KeyError:
            raise NotFound(f"no object at {uri}") from None
