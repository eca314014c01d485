"""Loaded by schemathesis: makes what requests name, has answers end, writes down requests and what fails.

Lines of JSON go to the file that SCHEMATHESIS_FINDINGS names. A finding's key says what is wrong and where,
not with which values, so that those of two engines can be compared.
"""

import json
import os
import re

import requests
import schemathesis

from conformance.schemathesis_specification import BOUNDS, EXEC, MADE, NEW, PARAMETERS, VALUES

OUT = open(os.environ["SCHEMATHESIS_FINDINGS"], "a", buffering=1)  # noqa: SIM115 - as long as the process

SESSION = requests.Session()
URL = os.environ["SCHEMATHESIS_URL"]
BY_DESIGN = (501, 503)
ID = re.compile("[0-9a-f]{64}")
STATES = {"c1": ("stop",), "c2": ("unpause", "start"), "c3": ("start", "pause"), "c4": ("start", "wait")}


def write(**fields) -> None:
    OUT.write(json.dumps(fields) + "\n")


def ask(method: str, target: str, body=None) -> tuple[int, dict]:
    """A request of our own to the engine, in the name of no operation."""
    answer = SESSION.request(method, URL + target, json=body, timeout=60)
    return answer.status_code, answer.json() if answer.content[:1] == b"{" else {}


def make(kind: str, name: str) -> None:
    """See to it that an object of a name is there, in the state that the name stands for."""
    if kind == "containers":
        host = {"NetworkMode": "none" if name == "c4" else "bridge"}
        command = ["true"] if name == "c4" else ["sleep", "100000"]
        body = {"Image": "busybox", "Cmd": command, "StopSignal": "SIGKILL", "HostConfig": host}
        ask("POST", f"/containers/create?name={name}", body)
        for verb in STATES[name]:
            ask("POST", f"/containers/{name}/{verb}")
    elif kind == "images":
        ask("POST", f"/images/busybox/tag?repo={name}")
    elif kind in ("networks", "volumes"):
        ask("POST", f"/{kind}/create", {"Name": name})


@schemathesis.hook
def before_call(context, case, kwargs):
    """What the request names is there, and what it asks for ends."""
    label = case.operation.label
    if bounds := BOUNDS.get(label):
        case.query = {**(case.query or {}), **bounds}
    kind = label.split("/")[1]
    for value in (case.path_parameters or {}).values():
        if value in MADE:
            make(kind, value)
        if value == EXEC:  # the relay puts one in its place
            make("containers", "c2")
    if kind == "networks" and isinstance(case.body, dict) and case.body.get("Container") in MADE:
        make("containers", case.body["Container"])
    if kind == "commit" and case.query.get("container") in MADE:
        make("containers", case.query["container"])
    if label.endswith("/create"):
        ask("DELETE", f"/{kind}/{NEW}?force=1")
    if label == "POST /containers/create":
        if "c1" in (body := str(case.body)):
            make("images", "c1")
            make("networks", "c1")
        if "c2" in body:
            make("containers", "c2")


@schemathesis.hook
def after_call(context, case, response):
    """Count the request; a container that could be created is started, looked at and removed."""
    answer = response.text[:160] if response.status_code >= 400 else ""
    sent = _sent(response.request)
    write(asked=case.operation.label, status=response.status_code, sent=sent, answer=answer)
    if response.status_code == 201 and case.operation.label == "POST /containers/create":
        made = f"/containers/{response.json()['Id']}"
        for method, step in (("POST", "/start"), ("GET", "/json"), ("DELETE", "?force=1&v=1")):
            status, answer = ask(method, made + step)
            label = f"{method} /containers/{{made}}{step}"
            write(asked=label, status=status)
            if status >= 500 and status not in BY_DESIGN:
                message = answer.get("message", "")
                write(
                    key=[label, "ServerError", f"{status} {ID.sub('<id>', message)[:90]}"],
                    sent=sent,
                    answer=message,
                )


@schemathesis.hook
def after_network_error(context, case, request):
    write(key=[case.operation.label, "no answer", ""], sent=_sent(request), answer="")


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Drop what is no fault; everything else is written down."""
    kind = type(failure).__name__
    if kind in NO_FAULT and NO_FAULT[kind](case, response):
        return False
    where = {
        "JsonSchemaError": lambda: f"{response.status_code} {_path(failure)} {failure._raw_message[:90]}",
        "AcceptedNegativeData": lambda: f"{response.status_code} {_negated(case)}",
        "UndefinedContentType": lambda: f"{response.status_code} {failure.content_type}",
    }.get(kind, lambda: str(response.status_code))()
    answer = response.content[:600].decode(errors="replace")
    write(key=[case.operation.label, kind, where], sent=_sent(response.request), answer=answer)
    return True


def _reads_as_right(case) -> bool:
    """Whether all that is wrong is what docker reads in its own way, or only not among the values we chose.

    Any text is a boolean of a query, and null is nothing in a body (Go's rules); names in paths and values
    of PARAMETERS and VALUES are ours, but for their types.
    """
    data = case.meta.phase.data
    wrong = [(it.parameter_location, it.parameter, list(it.path)) for it in data.mutations]
    told = re.split(": | -> ", data.description or "")  # fields from the outside in, and what is wrong
    for place, name, steps in wrong or [(data.parameter_location, data.parameter, told)]:
        where = place.value if place else ""
        if where == "body" and not _body_reads_as_right(case.body, steps):
            return False
        if where == "query" and not _query_reads_as_right(case, name or (steps or [""])[0]):
            return False
        if where not in ("body", "query", "path"):
            return False
    return True


def _query_reads_as_right(case, name: str) -> bool:
    ours = (case.operation.label, name) in PARAMETERS
    return ours or _type(case, name) == "boolean" or case.query.get(name) in ("", [""])


def _body_reads_as_right(body, steps) -> bool:
    value = body
    for step in steps:
        if isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        elif isinstance(value, dict) and step in value:
            value = value[step]
            if step in VALUES and _alike(VALUES[step], value):
                return True
    return value is None or (value is not body and _has_null(value))


def _alike(schema, value) -> bool:
    """Whether a value has the type of those that were chosen."""
    if "enum" in schema:
        return any(type(value) is type(known) for known in schema["enum"])
    return isinstance(value, list) and all(_alike(schema["items"], item) for item in value)


def _has_null(value) -> bool:
    if isinstance(value, dict | list):
        return any(map(_has_null, value.values() if isinstance(value, dict) else value))
    return value is None


def _type(case, name: str) -> str:
    return next((it.definition.get("type", "") for it in case.operation.query if it.name == name), "")


NO_FAULT = {
    "ServerError": lambda case, response: response.status_code in BY_DESIGN,
    "MissingContentType": lambda case, response: not response.content,
    "MalformedJson": lambda case, response: not response.content,
    "AcceptedNegativeData": lambda case, response: _reads_as_right(case),
}


def _path(failure) -> str:
    return "/" + "/".join("*" if isinstance(step, int) else str(step) for step in failure.instance_path)


def _negated(case) -> str:
    """What was made wrong: each parameter or field, and the rule it breaks."""
    data = case.meta.phase.data
    found = [
        " ".join(
            (it.parameter_location.value, "/".join(map(str, it.path)) or it.parameter or "", *it.keywords)
        )
        for it in data.mutations
    ]
    return (
        "; ".join(found)
        or f"{data.parameter_location} {data.parameter}: {re.sub('[0-9]+', 'N', data.description or '')}"
    )


def _sent(request) -> str:
    body = request.body if isinstance(request.body, bytes) else str(request.body or "").encode()
    return f"{request.method} {request.path_url} {body[:8000].decode(errors='replace')}"
