"""How much single readings moved a risk, for `readfirst explain --readings`: the page's answer without the page's process."""

from __future__ import annotations

from typing import Any

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.onnx.versions import ModelVersions, in_process
from pipeline.ports import WorklistReader
from pipeline.services.attribution import RiskAttribution
from pipeline.settings import Settings
from pipeline.worklist.attribution import told


async def told_of(reader: WorklistReader, settings: Settings, study_uid: str) -> dict[str, Any]:
    """By the versions on this machine. Raises NotFound, Unavailable."""
    versions = ModelVersions(settings.models_dir, settings.triton.model)
    return told(await RiskAttribution(reader, in_process(versions.folder_of, SystemClock())).of_study(study_uid))
