"""What `finetune` wrote, read again: the files of a version, and whose pairs it was made from.

Of those patients only marks are kept: a hash of each number, so short that one in a thousand people who were not there has the mark of
one who was. No number can be read out of it, and a test set loses one patient in a thousand by it, whoever it is. It does not hide who was
there from whoever has a list of the hospital's numbers: of those, the ones with a mark were there, but for one in a thousand of the list.
Where the site's key was at hand, a patient has two marks, of the number and of the pseudonym, so that a test set by either is told; who has
the list and the key can then be surer still, and has the pairs themselves.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from pipeline.adapters.onnx import artefact
from pipeline.adapters.onnx.artefact import REFERENCE_FILE, Artefact
from pipeline.domain.model_answer import ModelReference
from pipeline.errors import StackError
from pipeline.models.finetuning.pairs import Manifest, Pair, Refusal

METRICS_FILE, CARD_FILE = "metrics.json", "CARD.md"
_PATIENTS, _PICTURES = 1e-3, 1e-6
"""Share of others who have the mark of one who was there. A picture's digest tells nothing to who has not the picture."""


class FineTunedReference(ModelReference, frozen=True, kw_only=True, omit_defaults=False):
    """As any clinical artefact's, so that it can be promoted; and how it was made."""

    base_version: str
    adapt: str


class Marks(msgspec.Struct, frozen=True):
    """taken: which of so many slots, ascending."""

    slots: int
    taken: list[int]

    @classmethod
    def of(cls, keys: Iterable[str], salt: str, share: float) -> Marks:
        """share: of other keys that fall into a slot taken."""
        different = set(keys)
        slots = max(1, math.ceil(len(different) / share))
        return cls(slots, sorted({_slot(key, salt, slots) for key in different}))

    def has(self, key: str, salt: str) -> bool:
        """True of each key that they were made of, and of that share of others."""
        return _slot(key, salt, self.slots) in self.taken


class LearnedFrom(msgspec.Struct, frozen=True):
    """In metrics.json. The salt is the SHA-256 of the version's file: the same patients have other marks in another version."""

    patients: Marks
    pictures: Marks

    @classmethod
    def of(cls, pairs: Iterable[Pair], salt: str, before: Iterable[str] = ()) -> LearnedFrom:
        """All pairs that the version was made from, those it was tested on among them. before: patients whose films and reports were
        aligned, where the version uses that."""
        every = list(pairs)
        digests = (pair.digest for pair in every if pair.digest is not None)
        names = (name for pair in every for name in pair.names)
        return cls(Marks.of((*names, *before), salt, _PATIENTS), Marks.of(digests, salt, _PICTURES))


@dataclass(frozen=True, slots=True)
class Version:
    """learned_from: None where the version was written before marks were kept."""

    artefact: Artefact
    metrics: dict[str, Any]
    learned_from: LearnedFrom | None


def is_fine_tuned(folder: Path) -> bool:
    """Whether `finetune` wrote what lies there."""
    try:
        msgspec.json.decode((folder / REFERENCE_FILE).read_bytes(), type=FineTunedReference)
    except (OSError, msgspec.DecodeError):
        return False
    return True


def load(folder: Path) -> Version:
    """Raises StackError where there is none, or a damaged one."""
    if not is_fine_tuned(folder):
        raise StackError(
            f"{folder} holds no version that `readfirst finetune` wrote",
            "name its folder, as finetune said it: finetuned/3, say; what `train` wrote is evaluated with --task, without --pairs",
        )
    try:
        metrics = msgspec.json.decode((folder / METRICS_FILE).read_bytes())
        kept = metrics.get("learned_from")
        learned_from = None if kept is None else msgspec.convert(kept, LearnedFrom)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError, AttributeError) as error:
        raise StackError(f"{folder / METRICS_FILE} cannot be read: {error}", "fine-tune again, or bring the whole folder back") from error
    return Version(artefact.load(folder), metrics, learned_from)


def others(manifest: Manifest, version: Version) -> Manifest:
    """Without the patients and the pictures that the version was made from, each refused by its line. All where it cannot tell."""
    known, salt = version.learned_from, version.artefact.reference.sha256
    if known is None:
        return manifest
    kept: list[Pair] = []
    refused: list[Refusal] = []
    for pair in manifest.pairs:
        if any(known.patients.has(name, salt) for name in pair.names):
            refused.append(Refusal(pair.line, "learned-from", "the patient bears the mark of one that the version was made from"))
        elif pair.digest is not None and known.pictures.has(pair.digest, salt):
            refused.append(Refusal(pair.line, "learned-from", "the version was made from this picture, under another patient"))
        else:
            kept.append(pair)
    return replace(manifest, pairs=kept, refused=sorted([*manifest.refused, *refused], key=lambda one: one.line))


def _slot(key: str, salt: str, slots: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{salt}|{key}".encode()).digest()[:8]) % slots
