"""The image heads of a site: which there are, and what each is in the version in force. A folder in models/heads/ is all that adds one.

A version of the site that is gone or damaged takes no picture's word away: until it is mended the head that ships stands in for it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import structlog
from msgspec.structs import replace

from pipeline.adapters.onnx import heads
from pipeline.adapters.onnx.versions import ModelVersions
from pipeline.domain.image_answer import HeadReference
from pipeline.domain.image_heads import Scopes
from pipeline.errors import NotFound, StackError

log = structlog.get_logger()


class HeadRegistry:
    """Folders are listed once; which version is served is asked each time, for a promotion may change it."""

    def __init__(self, models: Path, folder: Path = heads.HEADS) -> None:
        """models: the site's folder of versions. folder: the heads that come with Readfirst. Raises StackError for a damaged one."""
        self.versions = {name: ModelVersions.of_head(models, name, folder) for name in heads.names(folder)}
        self._known = cache(heads.reference_in)
        self._whole: set[Path] = {versions.shipped for versions in self.versions.values()}
        self._damaged: dict[str, str] = {}
        heads.scopes(folder)

    def served(self, head: str) -> Path:
        """The folder in force: of the version that is served, or where that cannot be used of the one that ships."""
        versions = self.versions[head]
        try:
            folder = versions.served()
            if folder not in self._whole:
                heads.load_from(folder)
                self._whole.add(folder)
        except (NotFound, StackError) as error:
            if self._damaged.get(head) != str(error):
                log.warning("head_version_unusable", head=head, reason=str(error), instead="the one that ships")
            self._damaged[head] = str(error)
            return versions.shipped
        self._damaged.pop(head, None)
        return folder

    def reference(self, head: str, version: str | None = None) -> HeadReference:
        """What is beside the weights of a version; of the one in force where none is named. Raises NotFound or StackError."""
        versions = self.versions[head]
        found = self._known(self.served(head) if version is None else versions.folder_of(version))
        return found if found.scope is not None else replace(found, scope=self._known(versions.shipped).scope)

    def scopes(self) -> Scopes:
        """What the versions in force were made for."""
        found = {head: self.reference(head).scope for head in self.versions}
        return {head: scope for head, scope in found.items() if scope is not None}
