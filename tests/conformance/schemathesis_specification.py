"""Docker's specification as schemathesis shall read it: bounded, with values that mean something.

Everything here is data about the specification; nothing talks to an engine.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

Json = Any

# What is not asked at all, and why.
UPGRADES = "becomes a stream of bytes in both directions: tests/streams.py and the api suite"
REGISTRIES = "asks a registry on the network: tests/api/test_docker_registry.py, test_pull.py"
BUILDS = "has suites of its own: tests/conformance/build_images.py, tests/api/test_build*.py"
EXCLUDED = {
    "POST /containers/{id}/attach": UPGRADES,
    "GET /containers/{id}/attach/ws": UPGRADES,
    "POST /session": BUILDS,
    "POST /build": BUILDS,
    "POST /build/prune": BUILDS,
    "POST /auth": REGISTRIES,
    "GET /images/search": REGISTRIES,
    "GET /distribution/{name}/json": REGISTRIES,
    "POST /images/{name}/push": REGISTRIES,
}
# Of these tags nothing is offered; tests/api/test_specification.py asks each operation once.
REFUSED = {"Config", "Node", "Plugin", "Secret", "Service", "Swarm", "Task"}
# Parameters that would make an answer endless or go to the network: they are not varied.
DROPPED = {
    "GET /containers/{id}/logs": {"follow"},
    "GET /containers/{id}/stats": {"stream", "one-shot"},
    "GET /events": {"until"},
    "POST /images/create": {"fromImage"},
}
# Operations that dockerd can do without the body that they are to have.
BODILESS = {"PUT /containers/{id}/archive", "POST /volumes/create", "POST /containers/{id}/update"}
# What is sent with every request of an operation, so that it ends.
BOUNDS = {
    "GET /containers/{id}/stats": {"stream": "false", "one-shot": "true"},
    "GET /events": {"until": "1"},
}

# c1 is created, c2 runs, c3 is paused, c4 has ended; networks, volumes and images have these names, too.
MADE = ("c2", "c1", "c3", "c4")
NEW, NOBODY, EXEC = "new", "nosuch", "exec"
# Statuses that dockerd 28.5 has and its specification has not; each was asked of it.
ALSO: Mapping[str, Iterable[int]] = {
    "GET /images/get": (404,),
    "GET /images/{name}/get": (404,),
    "GET /containers/{id}/top": (409,),
    "POST /containers/{id}/start": (409,),
    "POST /containers/{id}/pause": (409,),
    "POST /containers/{id}/unpause": (409,),  # dockerd: 500
    "POST /containers/{id}/resize": (409,),
    "POST /exec/{id}/resize": (409,),
    "POST /networks/create": (409,),
    "POST /networks/{id}/disconnect": (409,),  # dockerd: 500
    "POST /volumes/create": (404, 503),
}
# Answers of one kind say nothing of the others, as dockerd's.
NULLS = {"GET /system/df 200": dict.fromkeys(("/Images", "/Containers", "/Volumes", "/BuildCache"))}
PARAMETERS: Mapping[tuple[str, str], Json] = {
    ("POST /containers/create", "name"): {"enum": [NEW, "c1", "/x", ""]},
    ("POST /containers/{id}/rename", "name"): {"enum": ["c2", NEW, ""]},
    ("POST /containers/{id}/kill", "signal"): {"enum": ["SIGKILL", "9", "WINCH", "0", NOBODY]},
    ("POST /containers/{id}/stop", "signal"): {"enum": ["SIGKILL", "9"]},
    ("POST /containers/{id}/restart", "signal"): {"enum": ["SIGKILL", "9"]},
    ("POST /containers/{id}/stop", "t"): {"enum": [0, 1]},
    ("POST /containers/{id}/restart", "t"): {"enum": [0, 1]},
    ("POST /containers/{id}/wait", "id"): {"enum": ["c4", NOBODY]},
    ("POST /containers/{id}/wait", "condition"): {"enum": ["not-running"]},
    ("GET /containers/{id}/archive", "path"): {
        "enum": ["/etc/passwd", "/etc", "tmp/..", "/proc/1", NOBODY, ""]
    },
    ("HEAD /containers/{id}/archive", "path"): {
        "enum": ["/etc/passwd", "/etc", "tmp/..", "/proc/1", NOBODY, ""]
    },
    ("PUT /containers/{id}/archive", "path"): {"enum": ["/tmp", "/etc/passwd", NOBODY, ""]},
    ("GET /containers/{id}/top", "ps_args"): {"enum": ["aux", "-o pid,comm", ""]},
    ("POST /images/create", "fromSrc"): {"enum": ["-"]},
    ("POST /commit", "container"): {"enum": [*MADE, NOBODY]},
    ("POST /commit", "repo"): {"enum": [*MADE, NEW, "UPPER", "a/b"]},
    ("POST /commit", "changes"): {"enum": ["CMD true", "ENV a=b", "x", ""]},
    ("POST /images/{name}/tag", "repo"): {"enum": [*MADE, NEW, "UPPER", "a/b"]},
    ("GET /images/get", "names"): {"items": {"type": "string", "enum": ["busybox", "c1", NOBODY]}},
}


def _some(*values: Json) -> Json:
    return {"enum": [*values]}


def _list(*values: Json) -> Json:
    return {"type": "array", "items": {"type": "string", "enum": [*values]}, "maxItems": 3}


_CAPABILITIES = _list("ALL", "NET_ADMIN", "CAP_SYS_TIME", NOBODY)
# Values of fields in bodies, by name: random text would be refused for the first of them.
VALUES: Mapping[str, Json] = {
    "Image": _some("busybox", "c1", NOBODY),
    "Cmd": _some(["true"], ["sh", "-c", "exit 3"], [NOBODY], [], "true"),
    "Entrypoint": _some([], ["sh", "-c"], ["/nosuch"], "true"),
    "Shell": _some(["sh", "-c"], []),
    "Env": _list("A=1", "B", "C=", "=x", ""),
    "User": _some("", "user", "1000:1000", "0:audio", NOBODY),
    "WorkingDir": _some("", "/tmp", "/new/directory", "relative", "/etc/passwd"),
    "Hostname": _some("", "box", "-x", "a" * 70),
    "Domainname": _some("", "lab"),
    "MacAddress": _some("", "02:42:ac:11:00:02", "x"),
    "StopSignal": _some("", "SIGKILL", "9", NOBODY),
    "StopTimeout": _some(0, 1),
    "ExposedPorts": _some({}, {"80/tcp": {}}, {"81/udp": {}, "82": {}}, {"x": {}}),
    "PortBindings": _some({}, {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}, {"80/tcp": None},
        {"81/udp": [{"HostPort": "8080"}, {"HostIp": "::1", "HostPort": "8081-8082"}]},
        {"80/tcp": [{"HostIp": "x"}]}, {"80/tcp": [{"HostPort": "70000"}]}, {"x": []}),
    "Volumes": _some({}, {"/data": {}}, {"relative": {}}),
    "NetworkMode": _some("none", "none", "host", "bridge", "default", "", "c1", "container:c2", NOBODY),
    "IpcMode": _some("", "none", "private", "shareable", "host", "container:c2", NOBODY),
    "UsernsMode": _some("", "host", NOBODY),
    "Binds": _list("/tmp:/a", "/tmp:/a:ro", "c1:/v", "c2:/v:ro,z", "/tmp/absent:/y", "/x", "", "a:b:c:d"),
    "VolumesFrom": _list("c1", "c2:ro", NOBODY, ""),
    "VolumeDriver": _some("", "local", NOBODY),
    "Tmpfs": _some({}, {"/t": ""}, {"/t": "size=1m,mode=700"}, {"/t": "x=y"}, {"relative": ""}),
    "CapAdd": _CAPABILITIES,
    "CapDrop": _CAPABILITIES,
    "Dns": _list("1.1.1.1", "::1", "x"),
    "DnsSearch": _list("lab", ".", ""),
    "ExtraHosts": _list("a:1.2.3.4", "b:host-gateway", "x"),
    "GroupAdd": _list("audio", "5", NOBODY),
    "Links": _list("c2:other", "c2", NOBODY),
    "SecurityOpt": _list("no-new-privileges", "seccomp=unconfined", "label=disable", "x"),
    "StorageOpt": _some({}, {"size": "1G"}, {"x": "y"}),
    "Sysctls": _some({}, {"net.core.somaxconn": "5", "kernel.shmmax": "1"}, {"net.core.somaxconn": "x"},
        {NOBODY: "1"}),
    "Runtime": _some("", "runc", NOBODY),
    "MaskedPaths": _list("/proc/kcore", "relative"),
    "ReadonlyPaths": _list("/proc/sys", "relative"),
    "Devices": _some([], [{"PathOnHost": "/dev/zero", "PathInContainer": "/dev/z", "CgroupPermissions": "r"}],
        [{"PathOnHost": "/dev/nosuch"}], [{"PathOnHost": "/dev/zero", "CgroupPermissions": "x"}]),
    "DeviceCgroupRules": _list("c 1:* rwm", "x"),
    "DeviceRequests": _some([], [{"Driver": "nvidia", "Count": -1}]),
    "Init": _some(False, True),  # dockerd's update does not know it
    "MemorySwappiness": _some(0, 60, 100, -1, 101),  # -1 is dockerd's word for none
    "Mounts": _some([], [{"Type": "bind", "Source": "/tmp", "Target": "/m"}],
        [{"Type": "bind", "Source": "/tmp/absent", "Target": "/m", "BindOptions": {"NonRecursive": True}}],
        [{"Type": "bind", "Source": "/tmp", "Target": "/m", "BindOptions": {"Propagation": "rslave"}}],
        [{"Type": "volume", "Source": "c1", "Target": "/m", "VolumeOptions": {"Subpath": "absent"}}],
        [{"Type": "tmpfs", "Target": "/m", "TmpfsOptions": {"SizeBytes": 1048576, "Mode": 448}}],
        [{"Type": "image", "Source": "busybox", "Target": "/m"}], [{"Type": "volume", "Target": "relative"}],
        [{"Type": "bind", "Source": "/tmp", "Target": "/m", "TmpfsOptions": {}}], [{"Type": NOBODY}]),
    "Memory": _some(0, 6 << 20, 64 << 20, 1, -1),
    "MemorySwap": _some(0, -1, 64 << 20, 1),
    "MemoryReservation": _some(0, 6 << 20, 1 << 40),
    "NanoCpus": _some(0, 500_000_000, -1, 10**15),
    "CpuPeriod": _some(0, 100_000, 1),
    "CpuQuota": _some(0, 50_000, 1, -1),
    "CpuRealtimePeriod": _some(0, 1000),
    "CpuRealtimeRuntime": _some(0, 1000),
    "CpuShares": _some(0, 2, 512, -1, 1 << 40),
    "CpusetCpus": _some("", "0", "0-1", "999", "x"),
    "CpusetMems": _some("", "0", "99", "x"),
    "PidsLimit": _some(0, -1, 10, 100),
    "ShmSize": _some(0, 65536, -1),
    "Name": _some(NEW, "c1", "a b", "nofile", "", NOBODY),
    "Driver": _some("", "bridge", "local", "default", NOBODY),
    "Subnet": _some("10.77.0.0/24", "10.78.0.0/16", "fd00:77::/64", "x", "10.77.0.1/24"),
    "IPRange": _some("", "10.77.0.0/28", "x"),
    "Gateway": _some("", "10.77.0.1", "10.99.0.1", "x"),
    "IPv4Address": _some("", "10.77.0.9", "x"),
    "IPv6Address": _some("", "fd00:77::9", "x"),
    "AuxiliaryAddresses": _some({}, {"a": "10.77.0.3"}, {"a": "x"}),
    "Scope": _some("", "local", "swarm"),
    "Network": _some("", "c1", NOBODY),
    "EndpointsConfig": _some({}, {"none": {}}, {"c1": {"Aliases": ["a"]}}, {"c1": {}, "bridge": {}},
        {"c1": {"IPAMConfig": {"IPv4Address": "x"}}}, {NOBODY: {}}),
    "Container": _some(*MADE, NOBODY),
    "DetachKeys": _some("", "ctrl-p,ctrl-q", "x,y", NOBODY),
    "Interval": _some(0, 1_000_000_000, 1, -1),
    "Timeout": _some(0, 1_000_000_000, 1),
    "Test": _some([], ["NONE"], ["CMD", "true"], ["CMD-SHELL", "exit 1"], [NOBODY]),
    "Config": _some({}, {"max-size": "1m", "max-file": "2"}, {"max-size": "x"}, {NOBODY: "y"}),
}  # fmt: skip
# Random text in these would reach beyond what the engine under test owns, or makes a swarm's volume.
LEFT_OUT = {"PidMode", "UTSMode", "CgroupParent", "ClusterVolumeSpec"}


def prepared(specification: Json, recorded: Json) -> Json:
    """Return a changed copy. ``recorded`` is tests/api/deviations.json."""
    made = copy.deepcopy(specification)
    for path, methods in made["paths"].items():
        for method in list(methods):
            operation = f"{method.upper()} {path}"
            if operation in EXCLUDED or methods[method]["tags"][0] in REFUSED:
                del methods[method]
            else:
                _bound(specification, operation, methods[method])
                _document(operation, methods[method], recorded["answers"])
    made["paths"] = {path: methods for path, methods in made["paths"].items() if methods}
    for case, nulls in (*recorded["schemas"].items(), *NULLS.items()):
        operation, _, status = case.rpartition(" ")
        method, _, path = operation.partition(" ")
        if entry := made["paths"].get(path, {}).get(method.lower()):
            for at in nulls:
                _allow_null(made, entry["responses"][status]["schema"], at.split("/")[1:])
    return made


def _bound(specification: Json, operation: str, entry: Json) -> None:
    kept = [it for it in entry.get("parameters", ()) if it["name"] not in DROPPED.get(operation, ())]
    for parameter in kept:
        if parameter["in"] == "body":
            parameter["schema"] = _asked(specification, parameter["schema"])
            parameter["required"] = parameter.get("required", False) and operation not in BODILESS
        else:
            parameter |= PARAMETERS.get((operation, parameter["name"]), _names(operation, parameter))
    entry["parameters"] = kept
    if "application/json" in entry.get("consumes", ()):
        entry["consumes"] = [
            "application/json"
        ]  # dockerd takes a create of no other kind, whatever is written


def _names(operation: str, parameter: Json) -> Json:
    if parameter["in"] != "path":
        return {}
    return {"enum": [EXEC, NOBODY] if operation.split("/")[1] == EXEC else [*MADE, NOBODY]}


def _asked(specification: Json, schema: Json) -> Json:
    """The schema of a body by itself, with values of ours for the fields that have some."""
    if isinstance(schema, list):
        return [_asked(specification, part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _asked(specification, specification["definitions"][schema["$ref"].rpartition("/")[2]])
    plain = {key: value for key, value in schema.items() if key not in ("example", "default", "description")}
    made = {key: _asked(specification, value) for key, value in plain.items() if key != "properties"}
    if "properties" in schema:
        made["properties"] = {
            name: VALUES[name] if name in VALUES and "enum" not in part else _asked(specification, part)
            for name, part in schema["properties"].items()
            if name not in LEFT_OUT
        }
    return made


def _document(operation: str, entry: Json, answers: Json) -> None:
    """Add what dockerd answers, what it refuses anywhere, and what we refuse by name; errors are JSON."""
    statuses = {
        str(answer["status"]) for case, answer in answers.items() if case.rpartition(" ")[0] == operation
    }
    statuses |= {"400", "501", *map(str, ALSO.get(operation, ()))}
    for status in statuses - {str(it) for it in entry["responses"]}:
        entry["responses"][status] = {"description": "", "schema": {"$ref": "#/definitions/ErrorResponse"}}
    if "produces" in entry:
        entry["produces"] = [*dict.fromkeys([*entry["produces"], "application/json"])]


def _allow_null(specification: Json, schema: Json, path: list[str]) -> None:
    while "$ref" in schema:
        schema = specification["definitions"][schema["$ref"].rpartition("/")[2]]
    for part in schema.get("allOf", ()):
        _allow_null(specification, part, path)
    name, *rest = path
    inner = "items" if "items" in schema else "additionalProperties"
    holder, key = (schema, inner) if name == "*" else (schema.get("properties", {}), name)
    if key not in holder:
        return
    if rest:
        _allow_null(specification, holder[key], rest)
    elif "$ref" in holder[key]:
        holder[key] = {"allOf": [holder[key]], "x-nullable": True}
    else:
        holder[key]["x-nullable"] = True
