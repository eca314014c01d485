"""The docker CLI and ours send the same request bodies for the same flags."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine

SOURCE = Path(__file__).parents[2] / "src"
BOOT = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from onggi.cli.main import main; sys.exit(main(sys.argv[1:]))"
)
CREATE = [
    "busybox",
    "busybox echo hello world",
    "-it busybox sh",
    "-i busybox cat",
    "-t busybox",
    "--name web --rm busybox",
    "--rm=false --tty=true busybox",
    "-a stdin -a STDOUT busybox",
    "-e A=1 -e B -e C= -eD=4 --env E=5 busybox",
    "--env-file {dir}/env -e LAST=1 busybox",
    "--label-file {dir}/labels -l a -l b=c busybox",
    "-h box --domainname lab -u 1000:1000 -w /tmp busybox",
    "--entrypoint /bin/sh busybox -c true",
    '--entrypoint "" busybox true',
    "-m 512m --memory-swap 1g --memory-reservation 64M --memory-swappiness 10 busybox",
    "-m 1.5g --memory-swap=-1 --oom-kill-disable --oom-score-adj=-500 busybox",
    "-m 100kb --shm-size 64MiB busybox",
    "--cpus 0.5 -c 512 --cpu-period 100000 --cpu-quota 50000 busybox",
    "--cpus 1.000000001 --cpuset-cpus 0-1 --cpuset-mems 0 --cpu-rt-period 1000 --cpu-rt-runtime 500 busybox",
    "--isolation default busybox",
    "--pids-limit 100 --ulimit nofile=1024:2048 --ulimit core=0 --ulimit nproc=-1 busybox",
    "--ulimit nofile=1 --ulimit nofile=2:3 busybox",
    "--blkio-weight 300 --blkio-weight-device /dev/sda:200 busybox",
    "--device-read-bps /dev/sda:1mb --device-write-bps /dev/sda:2k busybox",
    "--device-read-iops /dev/sda:100 --device-write-iops /dev/sda:200 busybox",
    "--device /dev/null --device /dev/zero:/dev/nought --device /dev/full:r busybox",
    "--device /dev/null:/dev/x:rw --device vendor.com/gpu=0 --device-cgroup-rule 'c 1:* rwm' busybox",
    "--gpus all busybox",
    "--gpus 2 --gpus '\"device=0,1\"' busybox",
    "--gpus driver=nvidia,capabilities=compute,options=a=b busybox",
    "--cap-add NET_ADMIN --cap-add=SYS_TIME --cap-drop ALL --privileged busybox",
    "--security-opt no-new-privileges --security-opt seccomp=unconfined --security-opt label:disable busybox",
    "--security-opt seccomp={dir}/profile.json busybox",
    "--security-opt systempaths=unconfined busybox",
    (
        "--group-add audio --group-add 5 --userns host --uts host --pid host --ipc private --cgroupns "
        "private busybox"
    ),
    "--pid container:other --ipc container:other --cgroup-parent /x busybox",
    "-v /a:/b -v /c:/d:ro -v named:/n -v /anonymous -v ./rel:/r busybox",
    "-v /a:/b -v /a:/b --volumes-from x:ro --volume-driver local busybox",
    "--mount type=bind,src=/a,dst=/b,ro --mount type=volume,target=/v busybox",
    "--mount type=tmpfs,dst=/t,tmpfs-size=5m,tmpfs-mode=1770 busybox",
    "--mount type=bind,source=/a,target=/b,bind-propagation=rslave,bind-recursive=disabled busybox",
    "--mount type=bind,source=/a,target=/b,readonly,bind-recursive=writable,consistency=cached busybox",
    (
        "--mount "
        "type=volume,source=v,target=/b,volume-nocopy,volume-label=a=b,volume-driver=x,volume-opt=c=d busybox"
    ),
    "--mount type=volume,source=v,target=/b,volume-subpath=s,readonly=false busybox",
    "--mount 'type=bind,\"src=/a,b\",dst=/b' busybox",
    "--tmpfs /t --tmpfs /u:size=1m,mode=700 --read-only busybox",
    "-p 80 -p 8080:80 -p 127.0.0.1:8081:81/udp -p 90-92:90-92 busybox",
    "-p 7000-7002:80 -p [::1]:5:6/sctp -p published=1,target=2,protocol=udp -P busybox",
    "--expose 80 --expose 90-92/udp busybox",
    "--network none busybox",
    "--network host busybox",
    "--network mine --network-alias a --network-alias b --ip 10.0.0.1 --link c:d busybox",
    (
        "--network name=mine,alias=x,ip=1.2.3.4,driver-opt=a=b,mac-address=92:d0:c6:0a:29:33 --network "
        "two busybox"
    ),
    "--net mine --net-alias z --ip6 ::1 --link-local-ip 169.254.1.1 busybox",
    "--network name=mine,gw-priority=5 busybox",
    "--mac-address 92:d0:c6:0a:29:33 --link c:d busybox",
    (
        "--dns 1.1.1.1 --dns 0:0::1 --dns-search example.com --dns-search . --dns-opt ndots:2 "
        "--dns-option x busybox"
    ),
    "--add-host a:1.2.3.4 --add-host b=[::1] --add-host c:host-gateway --add-host d:::1 busybox",
    "--health-cmd 'curl x' --health-interval 5s --health-retries 3 --health-timeout 1m30s busybox",
    "--health-start-period 1.5s --health-start-interval 300ms busybox",
    "--no-healthcheck busybox",
    "--log-driver json-file --log-opt max-size=1m --log-opt max-file=2 busybox",
    (
        "--storage-opt size=1G --sysctl net.core.somaxconn=5 --sysctl kernel.shmmax=1 --annotation a=b "
        "--annotation c busybox"
    ),
    "--restart always busybox",
    "--restart on-failure:3 --stop-signal INT --stop-timeout 0 --init busybox",
    "--init=false --runtime other --cidfile {dir}/cid-{n} busybox",
    "--platform linux/amd64 --pull never -q busybox",
    "-- busybox -it",
    "docker.io/library/busybox:1.36@sha256:" + "a" * 64,
]
UPDATE = [
    "-m 1g --cpus 1.5 c",
    "--restart on-failure:2 --pids-limit 5 c",
    "--cpuset-cpus 0 --blkio-weight 10 c",
]
EXEC = ["c true", "-i -u 1 -w /x -e A=1 c sh", "-d --privileged c sleep 1", "-i --env-file {dir}/env c cat"]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    (tmp_path / "env").write_text("# comment\nA=1\n\nHOME\nNOT_SET_ANYWHERE\n  B=two words \n")
    (tmp_path / "labels").write_text("x=y\nbare\n")
    (tmp_path / "profile.json").write_text('{ "defaultAction": "SCMP_ACT_ALLOW",\n "syscalls": [] }\n')
    fake = FakeEngine(tmp_path)
    fake.routes["POST /containers/create"] = (201, {"Id": "a" * 64, "Warnings": []})
    fake.routes["POST /containers/c/update"] = (200, {"Warnings": []})
    fake.routes["GET /containers/c/json"] = (200, {"Id": "c" * 64, "Config": {"Tty": False}})
    fake.routes["POST /containers/c/exec"] = (500, {"message": "recorded"})
    yield fake
    fake.close()


def record(engine: FakeEngine, program: list[str], words: list[str], route: str) -> list[tuple[str, Any]]:
    """Run a program and return the queries and bodies that arrived at the route."""
    before = len(engine.requests)
    directory = str(engine.path.parent)
    env = {**os.environ, "DOCKER_HOST": engine.host, "DOCKER_CONFIG": f"{directory}/none"}
    done = subprocess.run(
        [*program, *words],
        env=env,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    found = [r for r in engine.requests[before:] if f"{r.method} {r.path}" == route]
    assert found, done.stderr
    return [(request.query, request.json) for request in found]


def compare(engine: FakeEngine, command: str, line: str, route: str) -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker CLI is not installed")
    fill = {"{dir}": str(engine.path.parent)}
    words = []
    for at, program in enumerate((["docker"], [sys.executable, "-I", "-S", "-c", BOOT, str(SOURCE)])):
        text = line.replace("{dir}", fill["{dir}"]).replace("{n}", str(at))
        words.append(record(engine, program, [command, *shlex.split(text)], route))
    theirs, ours = (json.loads(json.dumps(each).replace("cid-1", "cid-0")) for each in words)
    for (_, their_body), (_, our_body) in zip(theirs, ours, strict=True):
        for body in (their_body, our_body):
            # docker keeps these in maps: their order is random
            for part in (body.get("HostConfig", {}).get("Binds"), body.get("Env")):
                (part or []).sort()
    assert ours == theirs


@pytest.mark.parametrize("line", CREATE)
def test_create_sends_what_docker_sends(engine: FakeEngine, line: str) -> None:
    compare(engine, "create", line, "POST /containers/create")


@pytest.mark.parametrize("line", UPDATE)
def test_update_sends_what_docker_sends(engine: FakeEngine, line: str) -> None:
    compare(engine, "update", line, "POST /containers/c/update")


@pytest.mark.parametrize("line", EXEC)
def test_exec_sends_what_docker_sends(engine: FakeEngine, line: str) -> None:
    compare(engine, "exec", line, "POST /containers/c/exec")
