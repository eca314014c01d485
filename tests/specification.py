"""Docker's specification of its Engine API as tests read it, and what a JSON value breaks of a schema."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).parent / "data/engine-api-1.51.json"
_SPECIFICATION = json.loads(DATA.read_text())
OPERATIONS = _SPECIFICATION["operations"]
DEFINITIONS = _SPECIFICATION["definitions"]

_TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


class Problem(NamedTuple):
    """``at`` is a path below the answer; ``*`` stands for every index and every key of a map."""

    at: str
    what: str


def problems(schema, value, at: str = "") -> Iterator[Problem]:
    """What ``value`` breaks of ``schema``. Strict: null is allowed only where x-nullable says so."""
    if "$ref" in schema:
        yield from problems(DEFINITIONS[schema["$ref"].rpartition("/")[2]] | _nullable(schema), value, at)
        return
    for part in schema.get("allOf", ()):
        yield from problems(part | _nullable(schema), value, at)
    if value is None and schema.get("x-nullable"):
        return
    expected = schema.get("type")
    if expected and not _is(expected, value):
        yield Problem(at, f"{_kind(value)} instead of {expected}")
        return
    if "enum" in schema and value not in schema["enum"]:
        yield Problem(at, f"{value!r} is none of {schema['enum']}")
    if isinstance(value, dict):
        yield from _object_problems(schema, value, at)
    if isinstance(value, list):
        for item in value:
            yield from problems(schema.get("items", {}), item, f"{at}/*")


def _object_problems(schema, value, at: str) -> Iterator[Problem]:
    known, rest = schema.get("properties", {}), schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if name not in value:
            yield Problem(f"{at}/{name}", "is required and missing")
    for name, part in value.items():
        if name in known:
            yield from problems(known[name], part, f"{at}/{name}")
        elif isinstance(rest, dict):
            yield from problems(rest, part, f"{at}/*")


def _nullable(schema):
    return {"x-nullable": True} if schema.get("x-nullable") else {}


def _is(expected: str, value) -> bool:
    if isinstance(value, bool):
        return expected == "boolean"
    return isinstance(value, _TYPES[expected])


def _kind(value) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return next(name for name, kind in _TYPES.items() if isinstance(value, kind))
