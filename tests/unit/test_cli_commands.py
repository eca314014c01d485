"""Lists, logs and the small commands print what docker prints, and ask the engine what docker asks."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Request, frame, upgrade

SOURCE = Path(__file__).parents[2] / "src"
BOOT = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from onggi.cli.main import main; sys.exit(main(sys.argv[1:]))"
)
IMAGE = "sha256:" + "b" * 64
NOW = int(time.time())  # ages are of hours and more: both commands see the same
CONTAINERS = [
    {
        "Id": "a" * 64, "Names": ["/zen"], "Image": "busybox", "ImageID": IMAGE, "Created": NOW - 7300,
        "Command": "sleep 600 with a long long command", "Labels": {"x": "y", "a": "b"}, "State": "running",
        "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"PrivatePort": 9, "Type": "udp"}, {"PrivatePort": 100, "Type": "tcp"},
            {"PrivatePort": 101, "Type": "tcp"},
        ],
        "Status": "Up 2 minutes", "NetworkSettings": {"Networks": {"bridge": {}}}, "SizeRw": 123456,
        "SizeRootFs": 99999999, "Mounts": [{"Type": "bind", "Source": "/very/long/path/here"}],
    },
    {
        "Id": "c" * 64, "Names": ["/b"], "Image": IMAGE, "ImageID": IMAGE, "Command": "sh", "Labels": {},
        "Created": NOW - 3 * 86400, "Ports": [], "State": "exited", "Status": "Exited (0) 2 days ago",
        "Mounts": [],
    },
]  # fmt: skip
FACTS = {
    "Id": "zen", "Name": "/zen", "State": {"Running": True, "Pid": 5},
    "Config": {"Env": ["A=<b>", "C=&"], "Tty": False, "OpenStdin": False},
    "HostConfig": {"AutoRemove": False, "Memory": 1073741824},
    "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}},
}  # fmt: skip
EVENT = {
    "Type": "container", "Action": "start",
    "Actor": {"ID": "z1", "Attributes": {"name": "n", "image": "b"}},
    "scope": "local", "time": 1700000000, "timeNano": 1700000000123456789,
}  # fmt: skip
STATS = {
    "id": "zen", "name": "/zen", "networks": {"eth0": {"rx_bytes": 1, "tx_bytes": 2000}},
    "cpu_stats": {"cpu_usage": {"total_usage": 2000}, "system_cpu_usage": 20000, "online_cpus": 2},
    "precpu_stats": {"cpu_usage": {"total_usage": 1000}, "system_cpu_usage": 10000, "online_cpus": 2},
    "memory_stats": {"usage": 10485760, "limit": 1073741824, "stats": {"inactive_file": 1048576}},
    "pids_stats": {"current": 3}, "blkio_stats": {"io_service_bytes_recursive": [{"op": "read",
    "value": 5000}]},
}  # fmt: skip
HISTORY = [
    {"Id": IMAGE, "Created": NOW - 86400, "CreatedBy": "/bin/sh " * 10, "Size": 1234567, "Comment": "c"},
    {"Id": "<missing>", "Created": NOW - 86400, "CreatedBy": "x", "Size": 0, "Comment": ""},
]
IMAGES = [
    {"Id": IMAGE, "RepoTags": ["busybox:latest"], "RepoDigests": ["busybox@sha256:" + "d" * 64],
     "Size": 4261574,
     "Created": NOW - 86400 * 40, "SharedSize": -1, "Containers": -1},
    {"Id": "sha256:" + "e" * 64, "RepoTags": [], "RepoDigests": [], "Created": NOW - 86400 * 400,
     "Size": 1234567890,
     "SharedSize": -1, "Containers": -1},
]  # fmt: skip

VOLUMES = [
    {"CreatedAt": "2026-01-02T03:04:05Z", "Driver": "local", "Labels": {"b": "c"} if name == "v2" else None,
     "Mountpoint": f"/v/{name}/_data", "Name": name, "Options": None, "Scope": "local"}
    for name in ("v10", "v2", "data")
]  # fmt: skip


def output(connection: socket.socket, request: Request) -> None:
    upgrade(connection)
    connection.sendall(frame(1, b"out\n") + frame(2, b"err\n"))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    fake = FakeEngine(tmp_path_factory.mktemp("engine"))
    fake.routes |= {
        "GET /containers/json": (200, CONTAINERS), "GET /images/json": (200, IMAGES),
        "GET /containers/zen/json": (200, FACTS), "GET /containers/zen/stats": (200, STATS),
        "GET /containers/zen/top": (200, {"Titles": ["UID", "PID"], "Processes": [["root", "1"]]}),
        "GET /containers/zen/logs": (200, frame(1, b"l1\n") + frame(2, b"l2\n")),
        "GET /info": (200, {"Name": "here", "Labels": ["a=b"], "CpuCfsQuota": True}),
        "GET /version": (200, {"Version": "3", "ApiVersion": "1.51"}),
        "GET /events": (200, json.dumps(EVENT).encode() + b"\n"), "GET /images/bb/history": (200, HISTORY),
        "POST /containers/zen/exec": (201, {"Id": "e1"}), "POST /exec/e1/start": output,
        "GET /exec/e1/json": (200, {"ExitCode": 4}), "POST /containers/zen/attach": output,
        "POST /containers/zen/wait": (200, {"StatusCode": 6}), "POST /containers/zen/start": (204, b""),
        "POST /images/create": (200, b'{"status":"sha256:abc"}\r\n'), "POST /containers/zen/stop": (204, b""),
        "DELETE /images/bb": (200, [{"Untagged": "bb:latest"}, {"Deleted": "sha256:x"}]),
        "POST /containers/prune": (200, {"ContainersDeleted": ["a", "b"], "SpaceReclaimed": 12345}),
        "GET /volumes": (200, {"Volumes": VOLUMES, "Warnings": None}),
        "GET /system/df": (200, {"LayersSize": 9, "Images": [IMAGES[0] | {"Containers": 2}]}),
        "GET /volumes/v2": (200, VOLUMES[1]), "POST /volumes/create": (201, VOLUMES[1]),
        "DELETE /volumes/v2": (204, b""),
        "POST /volumes/prune": (200, {"VolumesDeleted": ["v2", "v10"], "SpaceReclaimed": 2345}),
        "GET /volumes/*": (404, {"message": "get nosuch: no such volume"}),
        "DELETE /volumes/*": (409, {"message": "remove used: volume is in use - [abc]"}),
        "GET /containers/*": (404, {"message": "No such container: nosuch"}),
        "POST /containers/*": (404, {"message": "No such container: nosuch"}),
        "GET /images/*": (404, {"message": "No such image: nosuch"}),
    }  # fmt: skip
    yield fake
    fake.close()


LINES = r"""
ps
ps -a --no-trunc
ps -q
ps -s
ps --format "table {{.ID}}\t{{.Names}}\t{{.Label \"x\"}}"
ps --format "{{.ID}} {{.Command}} {{.Mounts}} {{.Networks}} {{.LocalVolumes}} {{.Size}} {{.Ports}} {{.State}}"
ps --format raw
ps -s --format raw
ps --format "table {{json .}}"
ps --format "{{.Foo}}"
ps --format "{{.Platform}} {{json .Platform}} {{if .Platform}}x{{end}}"
ps --format "{{.ID"
ps -n 3 -f status=exited -f name=a -f status=running
ps -l
info --format "{{.Name}} {{.CPUCfsQuota}} {{.ClientInfo.Debug}} {{json .Labels}}"
info --format "{{.Nope}}"
info --format "{{.Name"
info --format "{{nope}}"
version --format "{{.Server.Version}} {{.Server.APIVersion}}"
version --format "{{.Nope}}"
images
images -q
images --format "{{if}}"
images --digests
images --no-trunc
images busybox
inspect zen
inspect -f "{{.State.Running}} {{.Config.Env}} {{json .Config.Env}} {{range .Config.Env}}<{{.}}>{{end}}" zen
inspect --type image nosuch
container inspect nosuch
image inspect -f "{{.Id}}" nosuch
port zen
port zen 80
port zen 81
top zen
exec zen true
exec nosuch true
start zen
start nosuch zen
wait zen nosuch
logs zen
logs --tail 5 -f -t --since 2006-01-02T15:04:05Z zen
logs nosuch
events --since 1 --until 2 --filter type=container
events --format json
events --format "{{.Type}} {{.Action}} {{.Actor.ID}}"
import /nonexistent
import /etc/hostname a:b
stats --no-stream zen
stats --no-stream --format json zen
history bb
history -q bb
history --format json bb
rmi bb
container prune -f
container prune
tag bb C
stop -t 5 zen
kill -s HUP nosuch
rename nosuch b
pause nosuch
update nosuch
update --cpus 1 nosuch
restart -t 0 nosuch
top nosuch aux
volume ls
volume ls -q
volume ls --format json
volume ls --format "{{.Name}} {{.Labels}} {{.Label \"b\"}} {{.Mountpoint}} {{.Links}}"
volume ls --format raw
volume ls -f dangling=true -f name=v -f name=w
volume ls --format "{{.Foo}}"
volume inspect v2
volume inspect -f "{{.Mountpoint}} {{json .Labels}}" v2 nosuch
volume create
volume create --label a=b --label c -o type=tmpfs -o device=tmpfs -d other v2
volume rm v2
volume rm used
volume rm -f v2
volume prune -f
volume prune -af --filter label=x
volume prune -a --filter all=true
volume prune
inspect --type volume v2
inspect v2
system df --format "{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}}"
system df --format "{{.Nope}}"
system df --format "{{nope}}"
system prune --volumes --filter until=1h
""".strip().splitlines()


def run(
    engine: FakeEngine, program: list[str], line: str, config: str = "/nonexistent"
) -> tuple[int, str, str, list[str]]:
    env = {**os.environ, "DOCKER_HOST": engine.host, "DOCKER_CONFIG": config, "TZ": "UTC"}
    before = len(engine.requests)
    done = subprocess.run(
        [*program, *shlex.split(line)],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    asked = [f"{r.method} {r.path}?{'&'.join(sorted(r.query.split('&')))}" for r in engine.requests[before:]]
    return done.returncode, done.stdout, done.stderr, [each for each in asked if "/_ping" not in each]


@pytest.mark.parametrize("line", ["ps", "ps -q", "ps --format {{.Names}}", "stats --no-stream zen"])
def test_formats_of_the_configuration(engine: FakeEngine, tmp_path: Path, line: str) -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker CLI is not installed")
    (tmp_path / "config.json").write_text('{"psFormat": "{{.ID}} x", "statsFormat": "{{.Name}} y"}')
    ours = run(engine, [sys.executable, "-I", "-S", "-c", BOOT, str(SOURCE)], line, str(tmp_path))
    assert ours[:3] == run(engine, ["docker"], line, str(tmp_path))[:3]


@pytest.mark.parametrize("line", LINES)
def test_the_same_as_docker(engine: FakeEngine, line: str) -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker CLI is not installed")
    theirs = run(engine, ["docker"], line)
    ours = run(engine, [sys.executable, "-I", "-S", "-c", BOOT, str(SOURCE)], line)
    asked = [request for request in ours[3] if " /onggi/v1/" not in request]
    assert asked == theirs[3]  # once it knows that the engine is not ours
    assert ours[:3] == tuple(
        part.replace("'docker ", "'onggi ").replace("docker:", "onggi:") if isinstance(part, str) else part
        for part in theirs[:3]
    )
