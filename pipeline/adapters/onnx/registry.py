"""The image heads of a site: which there are, and what each is in the version in force. A folder in models/heads/ is all that adds one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from msgspec.structs import replace

from pipeline.adapters.onnx import heads
from pipeline.adapters.onnx.versions import ModelVersions
from pipeline.domain.image_answer import HeadReference
from pipeline.domain.image_heads import Scopes
from pipeline.errors import NotFound, StackError


class HeadRegistry:
    """Folders are listed once; which version is served is asked each time, for a promotion may change it."""

    def __init__(self, models: Path, folder: Path = heads.HEADS) -> None:
        """models: the site's folder of versions. folder: the heads that come with Readfirst. Raises StackError for a damaged one."""
        self.versions = {name: ModelVersions.of_head(models, name, folder) for name in heads.names(folder)}
        self._known = cache(heads.reference_in)
        self._scopes = heads.scopes(folder)

    def reference(self, head: str, version: str | None = None) -> HeadReference:
        """What is beside the weights of a version; of the one that is served where none is named. Raises NotFound or StackError."""
        versions = self.versions[head]
        found = self._known(versions.served() if version is None else versions.folder_of(version))
        return found if found.scope is not None else replace(found, scope=self._known(versions.shipped).scope)

    def scopes(self) -> Scopes:
        """What the served versions were made for. A version that cannot be read counts as it was before: the list does without."""
        found = {}
        for head, known in self._scopes.items():
            try:
                found[head] = self.reference(head).scope or known
            except (NotFound, StackError):
                found[head] = known
        self._scopes = found
        return found
