"""What schemathesis is given of the specification: only what ends, and with what dockerd is known to do."""

import copy

from conformance.schemathesis_specification import NOBODY, VALUES, prepared

BODY = {"$ref": "#/definitions/Config"}
SPECIFICATION = {
    "definitions": {
        "Config": {
            "properties": {
                "User": {"type": "string"},
                "Tty": {"type": "boolean"},
                "PidMode": {"type": "string"},
            }
        },
        "Part": {"type": "object", "properties": {"Names": {"type": "array", "items": {"type": "string"}}}},
        "ErrorResponse": {"type": "object"},
    },
    "paths": {
        "/build": {"post": {"tags": ["Image"], "responses": {"200": {}}}},
        "/swarm": {"get": {"tags": ["Swarm"], "responses": {"200": {}}}},
        "/containers/{id}/logs": {
            "get": {
                "tags": ["Container"],
                "parameters": [
                    {"in": "path", "name": "id", "type": "string"},
                    {"in": "query", "name": "follow", "type": "boolean"},
                    {"in": "query", "name": "stdout", "type": "boolean"},
                ],
                "responses": {"200": {"schema": {"$ref": "#/definitions/Part"}}},
            },
            "post": {
                "tags": ["Container"],
                "parameters": [{"in": "body", "name": "body", "schema": BODY}],
                "responses": {"200": {}},
            },
        },
    },
}
RECORDED = {
    "answers": {"GET /containers/{id}/logs 404": {"status": 404}},
    "schemas": {"GET /containers/{id}/logs 200": {"/Names": "null instead of array"}},
}


def test_what_schemathesis_is_given():
    before = copy.deepcopy(SPECIFICATION)
    made = prepared(SPECIFICATION, RECORDED)
    assert before == SPECIFICATION
    assert list(made["paths"]) == ["/containers/{id}/logs"]
    get, post = made["paths"]["/containers/{id}/logs"].values()
    assert [it["name"] for it in get["parameters"]] == ["id", "stdout"]
    assert NOBODY in get["parameters"][0]["enum"]
    assert get["responses"].keys() == {"200", "400", "404", "501"}
    assert made["definitions"]["Part"]["properties"]["Names"]["x-nullable"]
    fields = post["parameters"][0]["schema"]["properties"]
    assert fields == {"User": VALUES["User"], "Tty": {"type": "boolean"}}
