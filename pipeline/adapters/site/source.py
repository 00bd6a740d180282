"""The site file as a source of rules that is asked again and again: looked at by its time and size, read only when these have moved."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipeline.adapters.site.document import of
from pipeline.adapters.site.file import load, parse
from pipeline.adapters.site.published import default_yaml
from pipeline.domain.site import DEFAULT
from pipeline.errors import SiteFileRefused
from pipeline.ports import SiteRules

_Look = tuple[int, int, int] | None


class FileSiteSource:
    """SiteSource. Without a file: the defaults, which never change."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._looked: _Look = None
        self._seen: str | None = None

    def poll(self) -> SiteRules | None:
        """As SiteSource.poll. A file that is not there is refused like a bad one."""
        if self._path is None:
            return self._defaults()
        look = self._look()
        if look == self._looked and self._seen is not None:
            return None
        self._looked = look
        try:
            found = load(self._path)
        except SiteFileRefused as refused:
            if self._new(hashlib.sha256("\n".join(refused.faults).encode()).hexdigest()):
                raise
            return None
        return SiteRules(found.policy, found.digest, found.text) if self._new(found.digest) else None

    def read(self, text: str) -> SiteRules:
        """As SiteSource.read."""
        if text == default_yaml():
            return self._of_defaults()
        found = parse(text, "the rules in force")
        return SiteRules(found.policy, found.digest, found.text)

    def _defaults(self) -> SiteRules | None:
        """Told once: writing them out takes 20 ms, and every process asks every two seconds."""
        return self._of_defaults() if self._new("defaults") else None

    def _of_defaults(self) -> SiteRules:
        text = default_yaml()
        return SiteRules(of(DEFAULT).policy(), hashlib.sha256(text.encode()).hexdigest(), text)

    def _new(self, state: str) -> bool:
        new, self._seen = state != self._seen, state
        return new

    def _look(self) -> _Look:
        assert self._path is not None
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
