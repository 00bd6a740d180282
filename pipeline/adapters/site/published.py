"""The default site file and the JSON Schema, for editors and for reading: `python -m pipeline.adapters.site.published` writes `infra/`."""

from __future__ import annotations

import inspect
import io
import json
import re
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from pipeline.adapters.site.document import SiteDocument, of
from pipeline.adapters.site.section import Section
from pipeline.domain.site import DEFAULT

INFRA = Path(__file__).parents[3] / "infra"
SCHEMA = "site.schema.json"
HEAD = f"""yaml-language-server: $schema={SCHEMA}
The rules of a site, as they are without a site file. Copy it, change it, check it with `readfirst site check FILE`, and name it in
READFIRST_SITE_FILE: it is read again when it changes. A section that is left out is as here. Generated; do not edit in this place."""


def json_schema() -> str:
    """For editors that complete and check YAML."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **SiteDocument.model_json_schema(by_alias=True)}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def default_yaml() -> str:
    """Every section with its meaning above it, at its default."""
    return as_yaml(of(DEFAULT))


def as_yaml(document: SiteDocument) -> str:
    """A document as a file that reads as the same."""
    sections = document.model_dump(by_alias=True, mode="json")
    root = CommentedMap({key: _shaped(part) for key, part in sections.items()})
    root.yaml_set_start_comment(HEAD)
    for name, field in SiteDocument.model_fields.items():
        if said := _meaning(field):
            root.yaml_set_comment_before_after_key(field.alias or name, before=f"\n{said}")
    text = io.StringIO()
    writer = YAML()
    writer.width = 140
    writer.dump(root, text)
    return text.getvalue()


def _meaning(field: FieldInfo) -> str:
    model = field.annotation
    return field.description or (inspect.getdoc(model) or "" if isinstance(model, type) and issubclass(model, Section) else "")


def _shaped(value: Any) -> Any:
    """Plain numbers without a needless .0; mappings of single values on one line."""
    if isinstance(value, dict):
        shaped = CommentedMap({key: _shaped(part) for key, part in value.items() if part not in ("", [])})
        if all(not isinstance(part, dict | list) for part in value.values()):
            shaped.fa.set_flow_style()
        return shaped
    if isinstance(value, list):
        shaped_list = CommentedSeq([_shaped(part) for part in value])
        if all(not isinstance(part, dict | list) for part in value):
            shaped_list.fa.set_flow_style()
        return shaped_list
    if isinstance(value, str) and re.fullmatch(r"\d\d:\d\d", value):
        return DoubleQuotedScalarString(value)  # or a reader of YAML 1.1 takes it for minutes
    return int(value) if isinstance(value, float) and value.is_integer() else value


if __name__ == "__main__":
    (INFRA / SCHEMA).write_text(json_schema(), "utf-8")
    (INFRA / "site.yaml").write_text(default_yaml(), "utf-8")
