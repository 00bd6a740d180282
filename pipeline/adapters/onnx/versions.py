"""The versions of a model on this site: which one is served, which one looks on (shadow), and who changed that, when and why.

A folder `<models>/<model>/` holds one artefact folder a version and `state.json`, which is replaced in one step: whatever is interrupted,
the old state stays in force. Without it, the artefact that comes with Readfirst is served.

A version that is gone, damaged or foreign takes no model's word away: until it is mended the one that ships stands in for it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import structlog

from pipeline.adapters.onnx import artefact, heads, weights
from pipeline.domain.image_answer import HeadReference
from pipeline.domain.model_answer import ModelReference
from pipeline.errors import Conflict, NotFound, StackError
from pipeline.ports import Clock, FilmSource, Scorer

log = structlog.get_logger()

STATE_FILE = "state.json"
Act = Literal["promoted", "rolled back", "shadowed", "unshadowed"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One change. objections: what spoke against it; then `reason` says why it was done all the same."""

    at: datetime
    act: Act
    version: str
    before: str | None
    by: str
    reason: str | None = None
    objections: list[str] = []


class State(msgspec.Struct, frozen=True, kw_only=True):
    """served, shadow: versions; served None: the shipped one. before: what was served until the last promotion, for going back."""

    served: str | None = None
    before: str | None = None
    shadow: str | None = None
    history: list[Entry] = []


class InForce(NamedTuple):
    """folder: of the version that answers. refusal: why that is not the one that is served; None where it is."""

    folder: Path
    refusal: str | None


@dataclass(frozen=True, slots=True)
class Kind:
    """How a model lies in its folder. load: reads all of it and raises StackError where it is damaged; reference: what is beside the
    weights, in reference_file."""

    reference_file: str
    reference: Callable[[Path], ModelReference | HeadReference]
    load: Callable[[Path], artefact.Artefact | heads.Head]


CLINICAL = Kind(artefact.REFERENCE_FILE, artefact.load_reference, artefact.load)
IMAGE = Kind(heads.REFERENCE_FILE, heads.reference_in, heads.load_from)


class ModelVersions:
    """Of one model. Several processes may read while one writes."""

    def __init__(self, models: Path, model: str, shipped: Path = artefact.SHIPPED, kind: Kind = CLINICAL) -> None:
        self._folder = models / model
        self.shipped = shipped
        self.model = model
        self.kind = kind
        self._examined: dict[Path, tuple[object, str | None]] = {}
        self._told: str | None = None

    @classmethod
    def of_head(cls, models: Path, head: str, folder: Path = heads.HEADS) -> ModelVersions:
        """Of an image head that ships in `folder`."""
        return cls(models, head, folder / head, IMAGE)

    def state(self) -> State:
        """Raises StackError when the file is damaged."""
        try:
            return msgspec.json.decode((self._folder / STATE_FILE).read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except (OSError, msgspec.DecodeError) as error:
            raise StackError(
                f"{self._folder / STATE_FILE} cannot be read: {error}", "put back a copy, or remove it: then the shipped model is served"
            ) from error

    def versions(self) -> dict[str, Path]:
        """version -> its folder, the shipped one among them."""
        here = {folder.name: folder for folder in sorted(self._folder.glob("*/")) if (folder / self.kind.reference_file).is_file()}
        return {self._shipped_version: self.shipped, **here}

    @cached_property
    def _shipped_version(self) -> str:
        """It lasts as long as this installation; what is served is asked for with each score."""
        return self.kind.reference(self.shipped).version

    def served(self) -> Path:
        """The folder of what is served. Raises StackError when it is gone."""
        return self.shipped if (version := self.state().served) is None else self._noted(version)

    def in_force(self) -> Path:
        """As `examined`, for whoever asks before each request: the log is told once why another version answers."""
        folder, refusal = self.examined()
        if refusal is not None and refusal != self._told:
            log.warning("version_unusable", model=self.model, reason=refusal, instead="the one that ships")
        self._told = refusal
        return folder

    def examined(self) -> InForce:
        """What answers: what is served or, where that is gone, damaged or foreign, what ships."""
        try:
            folder = self.served()
            refusal = self._fault(folder)
        except (StackError, OSError) as error:  # a folder that this user may not enter
            return InForce(self.shipped, str(error))
        return InForce(folder if refusal is None else self.shipped, refusal)

    def _fault(self, folder: Path) -> str | None:
        """Why a version cannot be used. It is read once, and again when its files have changed or could not be read."""
        if folder == self.shipped:
            return None
        seen = [_seen(folder / name) for name in (self.kind.reference_file, weights.MODEL_FILE)]
        if folder not in self._examined or self._examined[folder][0] != seen:
            try:
                self.kind.load(folder)
                fault = None
            except StackError as error:
                fault = f"version {folder.name} cannot be used: {error}"
                if isinstance(error.__cause__, OSError):
                    return fault
            self._examined[folder] = seen, fault
        return self._examined[folder][1]

    def shadow(self) -> Path | None:
        """The folder of what looks on. Raises StackError when it is gone."""
        return None if (version := self.state().shadow) is None else self._noted(version)

    def _noted(self, version: str) -> Path:
        try:
            return self.folder_of(version)
        except NotFound as error:
            raise StackError(
                f"{self.model}: {error}", "put its folder back; or readfirst promote --rollback, readfirst shadow --stop"
            ) from error

    def install(self, candidate: Path) -> str:
        """Copies an artefact to this site and returns its version; the same one again mends what is damaged, or changes nothing.

        Raises StackError when it is damaged, foreign or no graph that can be opened, Conflict when another model has that version.
        """
        from pipeline.adapters.onnx.session import opened  # here: onnxruntime is slow to import, and whoever reads versions needs none

        found = self.kind.load(candidate)
        version = found.reference.version
        if (known := self._checksum(version)) not in (None, found.reference.sha256):
            raise Conflict(f"version {version} is another model already; give the candidate a version of its own")
        if known is not None and self._fault(self.folder_of(version)) is None:
            return version
        opened(found.onnx)
        fresh, target = self._folder / f".{version}.new", self._folder / version
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(candidate, fresh)
        if target.exists():  # damaged: what ships stands in for it already
            shutil.rmtree(target)
        fresh.rename(target)
        return version

    def _checksum(self, version: str) -> str | None:
        """Of the weights that a version here should have; None where there is none, or nothing that tells it."""
        try:
            return self.kind.reference(self.folder_of(version)).sha256
        except (NotFound, StackError):
            return None

    def promote(self, version: str, at: datetime, by: str, reason: str | None, objections: list[str]) -> State:
        """From now on `version` is served."""
        state = self.state()
        self.folder_of(version)
        entry = Entry(at=at, act="promoted", version=version, before=state.served, by=by, reason=reason, objections=objections)
        before = state.before if state.served == version else state.served  # the same again, to mend it, is no step to go back
        shadow = None if state.shadow == version else state.shadow
        return self._write(msgspec.structs.replace(state, served=version, before=before, shadow=shadow), entry)

    def roll_back(self, at: datetime, by: str, reason: str | None) -> State:
        """What was served before the last promotion is served again. Raises NotFound when there was none."""
        state = self.state()
        last = next((entry for entry in reversed(state.history) if entry.act in ("promoted", "rolled back")), None)
        if last is None or last.act == "rolled back":
            raise NotFound("there is no promotion to go back from")
        back_to = state.before or self._shipped_version
        entry = Entry(at=at, act="rolled back", version=back_to, before=state.served, by=by, reason=reason)
        return self._write(msgspec.structs.replace(state, served=state.before, before=None), entry)

    def look_on(self, version: str | None, at: datetime, by: str) -> State:
        """`version` scores beside the served one from now on; None: nobody does."""
        state = self.state()
        if version is not None:
            self.folder_of(version)
        name = version or state.shadow
        if name is None:
            raise NotFound("no version looks on")
        entry = Entry(at=at, act="shadowed" if version else "unshadowed", version=name, before=state.shadow, by=by)
        return self._write(msgspec.structs.replace(state, shadow=version), entry)

    def folder_of(self, version: str) -> Path:
        """Raises NotFound."""
        known = self.versions()
        if version not in known:
            raise NotFound(f"there is no version {version!r} here; there are: {', '.join(sorted(known))}")
        return known[version]

    def _write(self, state: State, entry: Entry) -> State:
        state = msgspec.structs.replace(state, history=[*state.history, entry])
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._folder / f".{STATE_FILE}.{os.getpid()}"
        with fresh.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(state), indent=1))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._folder / STATE_FILE)
        return state


def _seen(file: Path) -> tuple[int, int] | None:
    """By which a file is known again: a copy that is put back may have the time and size of what was damaged, never its time of change."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ctime_ns, found.st_size


def in_process(
    folder_of: Callable[[str], Path], clock: Clock, films: FilmSource | None = None, within_s: float = 10.0
) -> Callable[[str], Scorer]:
    """The scorer of each version, in this process. folder_of: raises NotFound or StackError; so does what is returned.

    films: for a version that reads them; one is waited for `within_s`, and there later for who asks again. Loaded when asked: the page's
    process is up before onnxruntime would be, and most readers never ask. The last two are kept.
    """

    @lru_cache(maxsize=2)
    def scorer_of(version: str) -> Scorer:
        from pipeline.adapters.onnx.asking import Patience
        from pipeline.adapters.onnx.scorer import OnnxScorer

        folder = folder_of(version)
        return OnnxScorer(clock, lambda: folder, films, Patience(4, within_s, 1), measured_as="readings")

    return scorer_of
