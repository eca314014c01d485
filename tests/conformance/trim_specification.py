"""Makes tests/data/engine-api-1.51.json from Docker's specification of its Engine API (needs PyYAML).

    python trim_specification.py v1.51.yaml > tests/data/engine-api-1.51.json

What is kept is what the walk of tests/api/test_specification.py reads: operations with the schemas of their
answers, and the definitions that those refer to; no descriptions, no examples, no parameters.
"""

import json
import sys
from pathlib import Path

KEYWORDS = {
    "type", "format", "properties", "items", "required", "allOf", "enum", "additionalProperties", "$ref",
    "x-nullable", "schema", "responses",
}  # fmt: skip
# Their operations are only known to be refused: their schemas stay out.
REFUSED = {"Config", "Node", "Plugin", "Secret", "Service", "Swarm", "Task", "Session"}


def trim(schema):
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key in KEYWORDS}
    for key in ("items", "additionalProperties", "schema"):
        if key in kept:
            kept[key] = trim(kept[key])
    if "properties" in kept:
        kept["properties"] = {name: trim(value) for name, value in kept["properties"].items()}
    if "allOf" in kept:
        kept["allOf"] = [trim(part) for part in kept["allOf"]]
    return kept


def operation(entry):
    tag = entry["tags"][0]
    answers = {
        str(status): None if tag in REFUSED else trim(answer.get("schema"))
        for status, answer in entry["responses"].items()
    }
    return {"id": entry["operationId"], "tag": tag, "responses": answers}


def references(value):
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].rpartition("/")[2]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def lines(part):
    """One entry a line, so that a change of the specification is a change of few lines."""
    compact = {name: json.dumps(part[name], separators=(",", ":"), sort_keys=True) for name in sorted(part)}
    return ",\n".join(f"{json.dumps(name)}: {text}" for name, text in compact.items())


def main(path):
    import yaml

    specification = yaml.safe_load(Path(path).read_text())
    operations = {
        f"{method.upper()} {path}": operation(entry)
        for path, methods in specification["paths"].items()
        for method, entry in methods.items()
    }
    definitions, wanted = {}, set(references(operations))
    while wanted:
        name = wanted.pop()
        definitions[name] = trim(specification["definitions"][name])
        wanted |= set(references(definitions[name])) - set(definitions)
    rooms = [
        f'"{name}": {{\n{lines(part)}\n}}'
        for name, part in (("operations", operations), ("definitions", definitions))
    ]
    print("{" + ",\n".join(rooms) + "}")


if __name__ == "__main__":
    main(sys.argv[1])
