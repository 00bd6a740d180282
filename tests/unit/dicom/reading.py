"""What the tests of this folder read objects with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from pydicom.dataset import Dataset

from pipeline.adapters.dicom.header import read_header
from pipeline.adapters.dicom.instance import Instance, understand
from tests.dicom_objects import as_file

SITE_KEY = b"k" * 32
ZONE = ZoneInfo("Europe/Berlin")
RECEIVED = datetime(2026, 3, 1, 12, tzinfo=UTC)


def read(folder: Path, dataset: Dataset, sop_uid: str | None = None) -> Instance:
    """The data set, written to a file and understood."""
    path = folder / "object.dcm"
    path.write_bytes(as_file(dataset))
    return understand(read_header(path), sop_uid, SITE_KEY, "HOSP", ZONE, RECEIVED)
