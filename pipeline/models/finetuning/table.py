"""A manifest's file, CSV or Parquet, as rows of text."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.errors import NotFound, StackError

Cells = dict[str, str]
"""Column to content, empty where there is none."""
REMEDY = "the manifest is described by: readfirst finetune --help"


def read(path: Path) -> tuple[list[str], list[Cells]]:
    """The columns, and the rows in order. Raises NotFound, StackError for what is no table."""
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return _parquet(path)
        with path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, restkey="", restval="")
            rows = [{name: (value or "").strip() for name, value in row.items() if name} for row in reader]
            return list(reader.fieldnames or ()), rows
    except FileNotFoundError as error:
        raise NotFound(f"{path} is not there") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StackError(f"{path} cannot be read as a table: {error}", REMEDY) from error


def _parquet(path: Path) -> tuple[list[str], list[Cells]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise StackError(f"{path} cannot be read as Parquet: {error}", REMEDY) from error
    rows: list[Mapping[str, Any]] = table.to_pylist()
    return list(table.column_names), [{name: _cell(value) for name, value in row.items()} for row in rows]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool):
        return str(int(value))
    return json.dumps(value) if isinstance(value, list) else str(value).strip()
