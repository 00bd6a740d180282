"""DICOM objects as files in a local folder: `<study>/<series>/<sop>.dcm`, on disk before anyone is told so."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import NotFound, Unavailable
from pipeline.ports import StoredObject

SCHEME = "object:"
VARIANT = "~"
"""Stands between the SOP Instance UID and the digest of a second version; no UID contains it."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_UID_LENGTH_MAX = 64
_INCOMING = ".incoming"
_ABANDONED_S = 3600.0


class LocalObjectStore:
    """ObjectStore in a folder. Several processes may share the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, study_uid: str, series_uid: str, sop_uid: str, chunks: Iterable[bytes]) -> StoredObject:
        """As ObjectStore.put. `chunks` is read in another thread."""
        try:
            return await asyncio.to_thread(self._put, safe_name(study_uid), safe_name(series_uid), safe_name(sop_uid), chunks)
        except OSError as error:
            raise Unavailable(f"the object store cannot write: {error.strerror or type(error).__name__}") from error

    async def get(self, uri: str) -> bytes:
        """As ObjectStore.get."""
        path = self.path(uri)
        try:
            return await asyncio.to_thread(path.read_bytes)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound("the object store has no such object") from None
        except OSError as error:
            raise Unavailable(f"the object store cannot read: {error.strerror or type(error).__name__}") from error

    async def ping(self) -> None:
        """Raises Unavailable where nothing can be written: the disk is full, read-only or not there."""
        try:
            await asyncio.to_thread(self._try_to_write)
        except OSError as error:
            raise Unavailable(f"the object store cannot write: {error.strerror or type(error).__name__}") from error

    def discard_abandoned(self, now: float) -> int:
        """Removes what a killed process had half written, an hour or more before `now` (Unix time); called at start."""
        incoming = self._folder / _INCOMING
        files = [path for path in incoming.iterdir() if now - path.stat().st_mtime > _ABANDONED_S] if incoming.is_dir() else []
        for path in files:
            path.unlink(missing_ok=True)
        return len(files)

    def path(self, uri: str) -> Path:
        """The file behind a uri of this store. Raises NotFound when the uri is not one."""
        parts = uri.removeprefix(SCHEME).split("/")
        if not uri.startswith(SCHEME) or len(parts) != 3 or any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            raise NotFound("not a uri of this object store")
        return self._folder.joinpath(*parts)

    def _try_to_write(self) -> None:
        incoming = self._folder / _INCOMING
        incoming.mkdir(parents=True, exist_ok=True)
        written, _, _ = _write_durably(incoming, [b"?"])
        written.unlink(missing_ok=True)

    def _put(self, study: str, series: str, sop: str, chunks: Iterable[bytes]) -> StoredObject:
        folder = self._folder / study / series
        _make_durable_folder(folder)
        incoming = self._folder / _INCOMING
        incoming.mkdir(exist_ok=True)
        written, digest, size = _write_durably(incoming, chunks)
        try:
            path, outcome = _publish(written, folder, sop, digest)
        finally:
            written.unlink(missing_ok=True)
        _sync_folder(folder)
        return StoredObject(f"{SCHEME}{study}/{series}/{path.name}", digest, size, outcome, _count_instances(self._folder / study))


def safe_name(uid: str) -> str:
    """The UID itself when it is one (PS3.5 section 9.1: digits and dots, at most 64), else a digest of it: whatever a sender
    puts into a UID, paths and patient data included, never becomes a file name."""
    if len(uid) <= _UID_LENGTH_MAX and _UID.fullmatch(uid):
        return uid
    return "x" + hashlib.sha256(uid.encode(errors="surrogatepass")).hexdigest()[:40]


def _make_durable_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_durable_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _write_durably(folder: Path, chunks: Iterable[bytes]) -> tuple[Path, str, int]:
    """A temporary file in `folder`, its SHA-256 and its size; the bytes are on disk."""
    digest, size = hashlib.sha256(), 0
    descriptor, name = tempfile.mkstemp(dir=folder)
    try:
        with open(descriptor, "wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                size += file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name), digest.hexdigest(), size


def _publish(written: Path, folder: Path, sop: str, digest: str) -> tuple[Path, str]:
    """Gives the file its name without ever overwriting another, and says what stood there."""
    first = folder / f"{sop}.dcm"
    if _link(written, first):
        return first, "new"
    if _digest(first) == digest:
        return first, "same"
    variant = folder / f"{sop}{VARIANT}{digest[:8]}.dcm"
    return variant, "conflict" if _link(written, variant) else "same"


def _link(source: Path, target: Path) -> bool:
    """False when `target` exists. A hard link is the one rename that POSIX lets fail instead of overwrite."""
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        if target.exists():
            return False
        source.rename(target)  # a file system without hard links
    return True


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _count_instances(study: Path) -> int:
    names = {name for series in os.listdir(study) for name in os.listdir(study / series) if name.endswith(".dcm")}
    return sum(VARIANT not in name for name in names)
