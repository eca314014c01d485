"""Fields that API versions 1.24 to 1.51 added or dropped, over the wire, on both sides of each change.

The versions are those at which dockerd 28.5.2 was seen to change its answer, asked in each of them.
"""

import json

import pytest

from specification_walk import ask

FIRST, LAST = 24, 51
NOTHING = object()


@pytest.fixture(scope="module")
def api(engine):
    """A function that asks in one version."""
    name = "versions"
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": name}}
    ask(str(engine.socket), "POST", "/networks/create", {"Name": name})
    ask(str(engine.socket), "POST", "/volumes/create", {"Name": name})
    ask(str(engine.socket), "POST", f"/containers/create?name={name}", body)
    assert ask(str(engine.socket), "POST", f"/containers/{name}/start").status == 204
    yield lambda minor, method, path, body=None, **headers: ask(
        str(engine.socket), method, f"/v1.{minor}{path}", body, headers
    )
    for path in (f"/containers/{name}?force=1", f"/networks/{name}", f"/volumes/{name}"):
        assert ask(str(engine.socket), "DELETE", path).status == 204


def sides(*changes: int) -> list[int]:
    """The first and the last version, and both sides of each change."""
    return sorted({FIRST, LAST, *changes, *(minor - 1 for minor in changes if minor > FIRST)})


def at(value, path: str):
    """What lies at a path, or NOTHING."""
    for key in filter(None, path.split("/")):
        if isinstance(value, list):
            value = value[0] if value else None
            continue
        if not isinstance(value, dict) or key not in value:
            return NOTHING
        value = value[key]
    return value


# (path, where in the answer, since, until): there from one version on, and before another.
FIELDS = [
    ("/info", "/FirewallBackend", 49, None),
    ("/info", "/KernelMemory", None, 42),
    ("/info", "/BridgeNfIptables", None, 50),
    ("/info", "/BridgeNfIp6tables", None, 50),
    ("/info", "/RuncCommit/Expected", None, 49),
    ("/info", "/RegistryConfig/AllowNondistributableArtifactsCIDRs", None, 47),
    ("/images/json", "/0/VirtualSize", None, 44),
    ("/images/busybox/json", "/VirtualSize", None, 44),
    ("/images/busybox/json", "/ContainerConfig/Cmd", None, 45),
    ("/images/busybox/json", "/Config/Hostname", None, 50),
    ("/images/busybox/json", "/Config/AttachStdin", None, 50),
    ("/system/df", "/Images/0/VirtualSize", None, 44),
]


@pytest.mark.parametrize(("path", "where", "since", "until"), FIELDS, ids=lambda value: str(value))
def test_fields_of_answers(api, path, where, since, until):
    for minor in sides(*filter(None, (since, until))):
        there = (since is None or minor >= since) and (until is None or minor < until)
        assert (at(api(minor, "GET", path).json(), where) is not NOTHING) == there, minor


def test_containers_of_images(api):
    for minor in sides(51):
        (image,) = [
            it for it in api(minor, "GET", "/images/json").json() if "busybox:latest" in it["RepoTags"]
        ]
        made = [it["ImageID"] for it in api(minor, "GET", "/containers/json?all=1").json()]
        assert image["Containers"] == (made.count(image["Id"]) if minor >= 51 else -1), minor
        assert image["Id"] in made


def test_short_ids_among_aliases(api):
    for minor in sides(45):
        found = api(minor, "GET", "/containers/versions/json").json()
        aliases = found["NetworkSettings"]["Networks"]["versions"]["Aliases"]
        assert aliases == ([found["Id"][:12]] if minor < 45 else None), minor


def test_parts_of_disk_usage(api):
    for minor in sides(42):
        usage = api(minor, "GET", "/system/df?type=image").json()
        assert (usage["Containers"] is None, usage["Images"] is None) == (minor >= 42, False)
        assert api(minor, "GET", "/system/df?type=nosuch").status == (400 if minor >= 42 else 200)


VOLUME = {"Type": "volume", "Source": "versions", "Target": "/x"}
BIND = {"Type": "bind", "Source": "/usr", "Target": "/x"}
NO_KERNEL_MEMORY = "option kernel-memory is not supported by this engine"
SYSCTL = "net.ipv4.conf.eth0.forwarding"
ENDPOINT_SYSCTLS = {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.forwarding=1"}


def host(**fields):
    return {"HostConfig": fields}


def mount(kind, **options):
    return host(Mounts=[BIND | {"ReadOnly": True, kind: options}])


def endpoint(**fields):
    return {"NetworkingConfig": {"EndpointsConfig": {"bridge": fields}}}


# What is asked, where inspect shows it, {version: what is there from it on}; a text is a refusal.
CREATES = {
    "auto remove": (host(AutoRemove=True), "/HostConfig/AutoRemove", {24: False, 25: True}),
    "ipc": ({}, "/HostConfig/IpcMode", {24: "shareable", 40: "private"}),
    "cgroup namespace": ({}, "/HostConfig/CgroupnsMode", {24: "host", 41: "private"}),
    "console size": (host(ConsoleSize=[1, 2]), "/HostConfig/ConsoleSize", {24: [0, 0], 42: [1, 2]}),
    "kernel memory": (
        host(KernelMemory=1 << 27), "/HostConfig/KernelMemory", {24: NO_KERNEL_MEMORY, 42: NOTHING}
    ),
    "tcp memory": (
        host(KernelMemoryTCP=1 << 27), "/HostConfig/KernelMemoryTCP", {24: NOTHING, 40: NO_KERNEL_MEMORY}
    ),
    "annotations": (host(Annotations={"a": "b"}), "/HostConfig/Annotations", {24: NOTHING, 43: {"a": "b"}}),
    "start interval": (
        {"Healthcheck": {"Test": ["CMD", "true"], "StartInterval": 10**9}},
        "/Config/Healthcheck/StartInterval",
        {24: NOTHING, 44: 10**9},
    ),
    "address of an endpoint": (
        endpoint(MacAddress="02:42:ac:11:00:05"),
        "/NetworkSettings/Networks/bridge/MacAddress",
        {24: "", 44: "02:42:ac:11:00:05"},
    ),
    "gateway priority": (
        endpoint(GwPriority=5), "/NetworkSettings/Networks/bridge/GwPriority", {24: 0, 48: 5}
    ),
    "two networks": (
        {"NetworkingConfig": {"EndpointsConfig": {"bridge": {}, "versions": {}}}},
        "/NetworkSettings/Networks/versions/GwPriority",
        {24: "Container cannot be created with multiple network endpoints: bridge, versions", 44: 0},
    ),
    "bind alone": (
        mount("BindOptions", NonRecursive=True),
        "/HostConfig/Mounts/0/BindOptions/NonRecursive",
        {24: NOTHING, 40: True},
    ),
    "mount point": (
        mount("BindOptions", CreateMountpoint=True),
        "/HostConfig/Mounts/0/BindOptions/CreateMountpoint",
        {24: NOTHING, 42: True},
    ),
    "read-only all the way": (
        mount("BindOptions", ReadOnlyForceRecursive=True, Propagation="rprivate"),
        "/HostConfig/Mounts/0/BindOptions/ReadOnlyForceRecursive",
        {24: "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer", 44: True},
    ),
    "subpath": (
        host(Mounts=[VOLUME | {"VolumeOptions": {"Subpath": "a"}}]),
        "/HostConfig/Mounts/0/VolumeOptions/Subpath",
        {24: "VolumeOptions.Subpath needs API v1.45 or newer", 45: "a"},
    ),
    "image": (
        host(Mounts=[{"Type": "image", "Source": "busybox", "Target": "/x"}]),
        "/HostConfig/Mounts/0/Type",
        {24: 'Mount type "Image" needs API v1.48 or newer', 48: "image"},
    ),
    "options of another type": (
        host(Mounts=[{"Type": "tmpfs", "Target": "/x", "BindOptions": {}}]),
        "",
        {
            24: 'invalid mount config for type "tmpfs": field BindOptions must not be specified',
            42: 'BindOptions must not be specified on mount type "tmpfs"',
        },
    ),
    "setting of an interface": (
        host(Sysctls={SYSCTL: "1"}),
        "/NetworkSettings/Networks/bridge/DriverOpts",
        {24: ENDPOINT_SYSCTLS, 48: f'interface specific sysctl setting "{SYSCTL}" must be supplied'},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CREATES)
def test_fields_of_creates(api, name):
    body, where, found = CREATES[name]
    for minor in sides(*found):
        expected = found[max(since for since in found if since <= minor)]
        answer = api(minor, "POST", "/containers/create?name=of-a-version", {"Image": "busybox", **body})
        if answer.status != 201:
            assert str(expected) in answer.message, (minor, answer)
            assert answer.status == (501 if expected == NO_KERNEL_MEMORY else 400)
            continue
        shown = api(LAST, "GET", "/containers/of-a-version/json").json()
        api(LAST, "DELETE", "/containers/of-a-version")
        assert at(shown, where) == expected, minor


def test_address_of_a_container(api):
    body = {"Image": "busybox", "MacAddress": "02:42:ac:11:00:06"}
    for minor in sides(44):
        answer = api(minor, "POST", "/containers/create?name=of-a-version", body)
        api(LAST, "DELETE", "/containers/of-a-version")
        assert (answer.status, len(answer.json()["Warnings"])) == (201, int(minor >= 44)), answer


def test_limits_of_updates(api):
    for minor in sides(40):
        api(LAST, "POST", "/containers/versions/update", {"PidsLimit": -1})
        assert api(minor, "POST", "/containers/versions/update", {"PidsLimit": 7}).status == 200
        shown = api(LAST, "GET", "/containers/versions/json").json()["HostConfig"]["PidsLimit"]
        assert (shown == 7) == (minor >= 40), (minor, shown)


def test_networks_without_ipv4(api):
    for minor in sides(48):
        body = {"Name": "of-a-version", "EnableIPv4": False, "EnableIPv6": True}
        assert api(minor, "POST", "/networks/create", body).status == 201
        assert api(LAST, "GET", "/networks/of-a-version").json()["EnableIPv4"] == (minor < 48)
        api(LAST, "DELETE", "/networks/of-a-version")


OTHER = "%7B%22os%22:%22linux%22,%22architecture%22:%22nosuch%22%7D"
# A parameter, from which version on it counts, the status it then gives; before it is ignored.
PARAMETERS = [
    ("GET", "/images/busybox/json?platform=x", 49, 400),
    ("GET", f"/images/busybox/json?manifests=1&platform={OTHER}", 49, 400),
    ("GET", f"/images/busybox/json?platform={OTHER}", 49, 404),
    ("GET", "/images/busybox/history?platform=x", 48, 400),
    ("GET", "/images/get?names=busybox&platform=x", 48, 400),
    ("POST", "/images/busybox/push?platform=x", 46, 400),
    ("POST", "/containers/versions/stop?signal=NOSUCH&t=0", 42, 400),
    ("POST", "/containers/versions/wait?condition=nosuch", 30, 400),
    ("GET", "/containers/versions/stats?stream=1&one-shot=1", 41, 400),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "since", "status"), PARAMETERS, ids=lambda value: str(value))
def test_parameters(api, method, path, since, status):
    answer = api(LAST, method, path, **{"X-Registry-Auth": "e30="})
    assert answer.status == status
    # What would last as long as the container is not asked before.
    if not path.startswith(("/containers/versions/wait", "/containers/versions/stats")):
        before = api(since - 1, method, path, **{"X-Registry-Auth": "e30="})
        assert before.status < 400, before
        api(LAST, "POST", "/containers/versions/start")


def test_filters_of_images(api):
    for minor in sides(41):
        found = api(minor, "GET", "/images/json?filter=nosuch").json()
        assert bool(found) == (minor >= 41)


def test_prune_of_volumes(api):
    """Until 1.42 those with names went too."""
    for minor in sides(42):
        api(LAST, "POST", "/volumes/create", {"Name": "of-a-version", "Labels": {"v": "1"}})
        pruned = api(minor, "POST", "/volumes/prune?filters=" + json.dumps({"label": ["v=1"]})).json()
        assert pruned["VolumesDeleted"] == (["of-a-version"] if minor < 42 else []), minor
    assert api(LAST, "DELETE", "/volumes/of-a-version").status == 204
