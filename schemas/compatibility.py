"""Whether a record of an older minor version still reads: the rule that a published schema may grow, but never tighten within a major."""

from __future__ import annotations

from typing import Any


def breaks(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What in `new` would refuse or misread a document that `old` allows; empty: compatible. Both as `publish` writes them."""
    return _compare(old, new, old.get("$defs", {}), new.get("$defs", {}), "", set())


def _compare(old: Any, new: Any, old_defs: dict[str, Any], new_defs: dict[str, Any], path: str, seen: set[str]) -> list[str]:
    old, new = _resolve(old, old_defs, seen), _resolve(new, new_defs, set())
    if old is None:
        return []
    found: list[str] = []
    found += [f"{path or '/'}: {name} is newly required" for name in set(new.get("required", ())) - set(old.get("required", ()))]
    for name, before in old.get("properties", {}).items():
        after = new.get("properties", {}).get(name)
        if after is None:
            found.append(f"{path}/{name}: removed")
        else:
            found += _compare(before, after, old_defs, new_defs, f"{path}/{name}", seen)
    found += _alternatives(old, new, old_defs, new_defs, path, seen)
    if old.get("type") != new.get("type") and "anyOf" not in new:
        found.append(f"{path}: type {old.get('type')} became {new.get('type')}")
    if "enum" in new and not set(old.get("enum", ())) <= set(new["enum"]):
        found.append(f"{path}: values {sorted(set(map(str, old.get('enum', ['any']))) - set(map(str, new['enum'])))} are no longer allowed")
    if "items" in old and "items" in new:
        found += _compare(old["items"], new["items"], old_defs, new_defs, f"{path}[]", seen)
    return found


def _alternatives(old: Any, new: Any, old_defs: dict[str, Any], new_defs: dict[str, Any], path: str, seen: set[str]) -> list[str]:
    before = [_name(option) for option in old.get("anyOf", ())]
    after = {_name(option): option for option in new.get("anyOf", (new,))}
    found = [f"{path}: {name} is no longer allowed" for name in before if name not in after]
    for option in old.get("anyOf", ()):
        if _name(option) in after:
            found += _compare(option, after[_name(option)], old_defs, new_defs, path, seen)
    return found


def _name(option: dict[str, Any]) -> str:
    return str(option.get("$ref") or option.get("type") or "enum")


def _resolve(schema: Any, defs: dict[str, Any], seen: set[str]) -> Any:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    if reference in seen:
        return None
    seen.add(reference)
    return defs[reference.rpartition("/")[2]]
