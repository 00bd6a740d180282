"""The image heads of a site: which there are, and what each is in the version in force. A folder in models/heads/ is all that adds one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from msgspec.structs import replace

from pipeline.adapters.onnx import heads
from pipeline.adapters.onnx.versions import ModelVersions
from pipeline.domain.image_answer import HeadReference
from pipeline.domain.image_heads import Scopes


class HeadRegistry:
    """Folders are listed once; which version is served is asked each time, for a promotion may change it."""

    def __init__(self, models: Path, folder: Path = heads.HEADS) -> None:
        """models: the site's folder of versions. folder: the heads that come with Readfirst. Raises StackError for a damaged one."""
        self.versions = {name: ModelVersions.of_head(models, name, folder) for name in heads.names(folder)}
        self._known = cache(heads.reference_in)
        heads.scopes(folder)

    def served(self, head: str) -> Path:
        """As ModelVersions.in_force."""
        return self.versions[head].in_force()

    def reference(self, head: str, version: str | None = None) -> HeadReference:
        """What is beside the weights of a version; of the one in force where none is named. Raises NotFound or StackError."""
        versions = self.versions[head]
        found = self._known(self.served(head) if version is None else versions.folder_of(version))
        return found if found.scope is not None else replace(found, scope=self._known(versions.shipped).scope)

    def scopes(self) -> Scopes:
        """What the versions in force were made for."""
        found = {head: self.reference(head).scope for head in self.versions}
        return {head: scope for head, scope in found.items() if scope is not None}
