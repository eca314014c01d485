"""Hostile requests and archives against a running engine: it answers, and goes on (R1, R4, R6, R12, R24)."""

import contextlib
import gzip
import http.client
import io
import json
import lzma
import os
import random
import socket
import tarfile
import threading
import time
from pathlib import Path

import pytest

from engines import DEADLINE_S, busybox_tar, open_files, paths_below, wait_until


class Raw(http.client.HTTPConnection):
    """HTTP over the engine's socket, as raw as wanted."""

    def __init__(self, engine) -> None:
        super().__init__("engine", timeout=DEADLINE_S)
        self._path = str(engine.socket)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(self._path)


def ask(engine, method: str, path: str, body=None, **headers) -> tuple[int, bytes]:
    """Status and body of one request."""
    connection = Raw(engine)
    try:
        payload = json.dumps(body).encode() if isinstance(body, dict | list | int | str) else body
        connection.request(method, path, payload, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def send(engine, data: bytes) -> bytes:
    """What the engine answers to these very bytes, until it closes or has answered."""
    connection = Raw(engine)
    connection.connect()
    try:
        connection.sock.sendall(data)
        return connection.sock.recv(65536)
    finally:
        connection.close()


def tar_of(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.mode = kind, len(data), 0o755
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def padded(archive: bytes) -> bytes:
    """An archive without its end, so that others can be appended."""
    data = archive.rstrip(b"\0")
    return data + bytes(-len(data) % 512)


def load(engine, data: bytes, name: str, *changes: str) -> None:
    options = [word for change in changes for word in ("-c", change)]
    done = engine.docker("import", *options, "-", name, input=data)
    assert done.returncode == 0, done.stderr


def alive(engine) -> bool:
    return engine.process.poll() is None and ask(engine, "GET", "/_ping")[1] == b"OK"


JUNK = [
    None, True, -1, 1 << 70, 1e308, "", "x", "\0", "../../x", "\ud7ff" * 9, "A" * 5000, [], [None], ["\0"],
    [[]], {}, {"": None}, {"x": {}}, {"a": -1}, [{"Name": None}], [{"PathOnHost": 1}], "18446744073709551616",
    10**400, {"EndpointsConfig": {"x": 1}}, {"EndpointsConfig": [1]},
]  # fmt: skip


def shape_of(engine) -> dict:
    """A create body with every field that inspect shows."""
    status, answer = ask(engine, "POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]})
    assert status == 201, answer
    name = json.loads(answer)["Id"]
    shown = json.loads(ask(engine, "GET", f"/containers/{name}/json")[1])
    assert ask(engine, "DELETE", f"/containers/{name}")[0] == 204
    return {**shown["Config"], "NetworkingConfig": {}, "HostConfig": shown["HostConfig"]}


def test_cve_2021_21285_malformed_requests_leave_the_server_up(engine):
    """Every field of a create request, with all kinds of junk: refused or taken, never a 500."""
    whole, chance = shape_of(engine), random.Random(21285)
    bodies = []
    for table in (whole, whole["HostConfig"]):
        for key in table:
            for junk in chance.sample(JUNK, 9):
                copy = {**whole, "HostConfig": dict(whole["HostConfig"]), "Image": "busybox"}
                (copy if table is whole else copy["HostConfig"])[key] = junk
                bodies.append(copy)
    wrong = []
    for body in bodies:
        status, answer = ask(engine, "POST", "/containers/create", body)
        if status == 201:
            ask(engine, "DELETE", f"/containers/{json.loads(answer)['Id']}?force=1")
        elif status == 500 or status not in range(400, 502):
            wrong.append((status, answer[:300]))
    assert not wrong
    assert alive(engine)


@pytest.mark.parametrize("path", ["create", "x/exec", "x/update", "x/attach", "x/resize?h=-1&w=99999999999"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"a":' * 9000,
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b'{"HostConfig":{"Memory":' + b"1" * 400 + b"}}",
        b"\xff\xfe",
        b"{}{}",
        b"1" * 5000,
    ],
)
def test_cve_2021_21285_malformed_json(engine, path, body):
    status, answer = ask(engine, "POST", f"/containers/{path}", body)
    assert 400 <= status < 500, answer
    assert alive(engine)


CREATE = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BODY = b'{"Image":"busybox"}'
TRICKS = {
    "no length": CREATE + b"\r\n",
    "zero length": CREATE + b"Content-Length: 0\r\n\r\n" + BODY,
    "two lengths": CREATE + b"Content-Length: 0\r\nContent-Length: 19\r\n\r\n" + BODY,
    "length and chunks": CREATE + b"Content-Length: 19\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + BODY,
    "negative": CREATE + b"Content-Length: -1\r\n\r\n" + BODY,
    "plus": CREATE + b"Content-Length: +19\r\n\r\n" + BODY,
    "endless": CREATE + b"Content-Length: 99999999999999999999\r\n\r\n" + BODY,
    "huge chunk": CREATE + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + BODY,
    "bad chunk": CREATE + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + BODY,
    "unknown coding": CREATE + b"Transfer-Encoding: gzip\r\nContent-Length: 19\r\n\r\n" + BODY,
    "17 MB": CREATE + b"Content-Length: 17825792\r\n\r\n" + b" " * 17825792,
}


def containers_of(engine) -> set[str]:
    """The ids of all containers, running or not."""
    return {it["Id"] for it in json.loads(ask(engine, "GET", "/containers/json?all=1")[1])}


@pytest.mark.parametrize("trick", TRICKS)
def test_cve_2024_41110_a_body_is_what_was_parsed(engine, trick):
    """CVE-2026-34040: empty, doubled, oversized and contradictory bodies are refused, not half understood."""
    before = containers_of(engine)
    assert send(engine, TRICKS[trick])[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 413", b"HTTP/1.1 501")
    assert containers_of(engine) <= before
    assert alive(engine)


@pytest.mark.parametrize(
    "ref", ["..%2f..%2fetc", "..", "a" * 65, "A" * 64, "%00", "sha256:..%2f..%2fx", "%2e%2e%2f"]
)
def test_cve_2014_9358_references_are_no_paths(engine, ref, canary):
    """In every route that takes one."""
    for method, path in [
        ("GET", f"/containers/{ref}/json"),
        ("DELETE", f"/containers/{ref}"),
        ("GET", f"/containers/{ref}/logs?stdout=1"),
        ("GET", f"/images/{ref}/json"),
        ("DELETE", f"/images/{ref}"),
        ("GET", f"/exec/{ref}/json"),
        ("POST", f"/images/{ref}/tag?repo=../../x"),
    ]:
        status, answer = ask(engine, method, path)
        assert status in (301, 400, 404), (path, status, answer)


@pytest.mark.parametrize(
    "flags",
    [
        ["--cpuset-cpus=1-2147483647"],
        ["--cpuset-cpus=0-" + "9" * 4000],
        ["--cpuset-mems=0-99999999999"],
        ["--cpuset-cpus=" + "0," * 60000],
        ["--group-add=" + "9" * 60000],
        ["--ulimit=nofile=99999999999999999999"],
    ],
)
def test_cve_2018_20699_huge_values_are_refused_fast(engine, onggi, flags):
    """CVE-2021-43784: lengths and ranges do not wrap and are not expanded."""
    before = time.process_time()
    assert onggi("run", "--rm", *flags, "busybox", "true", status=None).returncode == 125
    assert time.process_time() - before < DEADLINE_S / 10
    assert alive(engine)


def resident(pid: int) -> int:
    """Bytes of memory in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_cve_2023_25153_an_import_is_not_kept_in_memory(engine, onggi):
    """CVE-2017-14992 (a bomb), CVE-2024-9676, CVE-2026-46680 (200 MB of passwd and group are not read)."""
    buffer = io.BytesIO()
    with gzip.open(buffer, "wb", 1) as packed:
        packed.write(padded(busybox_tar()))
        for name in ("etc/passwd", "etc/group"):
            entry = tarfile.TarInfo(name)
            entry.size = 200 << 20
            packed.write(entry.tobuf())
            for _ in range(200):
                packed.write(b"x:x:1:1::/:\n" * 87381 + b"xxxx")
        packed.write(bytes(10240))
    before, peak, stop = resident(engine.process.pid), [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            peak[0] = max(peak[0], resident(engine.process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        load(engine, buffer.getvalue(), "huge")
        for user in ("user", "0:user", "1000"):
            onggi("run", "--rm", "--user", user, "huge", "true", status=None)
    finally:
        stop.set()
        watcher.join()
    assert onggi("run", "--rm", "--user", "user", "huge", "true", status=None).returncode != 0
    assert peak[0] - before < 64 << 20
    engine.docker("rmi", "huge", check=True)


def packed_by(kind: str, data: bytes) -> bytes:
    if kind == "zstd":
        zstd = pytest.importorskip("backports.zstd")
        return zstd.compress(data)
    return {"gzip": gzip.compress, "xz": lzma.compress}[kind](data)


@pytest.mark.parametrize("kind", ["gzip", "xz"])
def test_cve_2014_9357_an_image_with_its_own_xz(engine, onggi, kind):
    """CVE-2026-41567, CVE-2019-14271: nothing of an archive is run or loaded while it is unpacked."""
    script = b"#!/bin/sh\n: >/ran; : >ran\n"
    names = ("xz", "unxz", "unpigz", "gzip", "zstd", "tar", "python3", "nsenter", "mount")
    tools = [(f"{place}/{name}", script) for place in ("bin", "usr/bin", "usr/sbin") for name in names]
    extra = [("lib/x86_64-linux-gnu/libnss_files.so.2", b"no library"), ("etc/ld.so.preload", b"/evil.so\n")]
    data = padded(busybox_tar()) + tar_of(*tools, *extra)
    load(engine, packed_by(kind, data), "tools")
    shown = onggi("run", "--rm", "tools", "/bin/busybox", "ls", "/").stdout.split()
    assert "ran" not in shown
    assert "ran" not in {path.name for path in paths_below(engine.directory)}
    assert not Path("/ran").exists()


@pytest.mark.parametrize("cut", [100, 5000, 300_000])
def test_cve_2021_20291_a_cut_import_leaves_nothing(engine, cut):
    """An error, not a hang, and no file without a name."""
    images = ask(engine, "GET", "/images/json")[1]
    status, answer = ask(engine, "POST", "/images/create?fromSrc=-&repo=cut", busybox_tar()[:cut])
    assert status >= 400 or b'"error"' in answer, answer
    assert ask(engine, "GET", "/images/json")[1] == images
    assert not [path for path in paths_below(engine.data_root / "ingest") if path.is_file()]


def test_cve_2020_27534_nothing_is_written_to_places_of_everybody(engine):
    """While an import is under way the engine holds no file outside its own directories, which are closed."""
    connection = Raw(engine)
    connection.putrequest("POST", "/images/create?fromSrc=-&repo=slow")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    data = busybox_tar()
    half = len(data) // 2
    connection.send(b"%x\r\n" % half + data[:half] + b"\r\n")
    pids = {
        int(line)
        for group in engine._groups()
        for line in Path(group, "engine/cgroup.procs").read_text().split()
    }

    def written() -> set[str]:
        """Files that are open for writing."""
        return {
            link
            for pid in pids
            for number, link in open_files(pid).items()
            if link.startswith("/") and writable(pid, number)
        }

    ingest = f"{engine.data_root}/ingest/"
    wait_until(lambda: any(link.startswith(ingest) for link in written()), "the import")
    own = (str(engine.directory), "/memfd:", "/dev", "/proc", "/sys")
    assert not {link for link in written() if not link.startswith(own)}
    connection.send(b"0\r\n\r\n")
    connection.getresponse().read()
    connection.close()


def writable(pid: int, number: int) -> bool:
    """Whether a descriptor of a process can be written to; False if it is closed."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        fields = Path(f"/proc/{pid}/fdinfo/{number}").read_text().split()
        return bool(int(fields[fields.index("flags:") + 1], 8) & (os.O_WRONLY | os.O_RDWR))
    return False


def test_cve_2025_9074_the_engine_listens_on_no_network(engine):
    """CVE-2021-4024: unless asked to."""
    sockets = set(open_files(engine.process.pid).values())
    assert any(link.startswith("socket:") for link in sockets)
    for table in ("tcp", "tcp6", "udp", "udp6"):
        rows = Path(f"/proc/{engine.process.pid}/net/{table}").read_text().splitlines()[1:]
        assert not [row for row in rows if f"socket:[{row.split()[9]}]" in sockets]


def test_cve_2022_23648_an_image_volume_stays_inside(engine, onggi, canary):
    """CVE-2014-9356: VOLUME and WORKDIR with dots, and through a link to the host."""
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, str(canary)
    data = padded(busybox_tar()) + link.tobuf() + bytes(10240)
    up = "/.." * 9 + str(canary)
    for number, change in enumerate(
        [f"VOLUME {up}", f"WORKDIR {up}/new", "VOLUME /link/new", "WORKDIR /link/new"]
    ):
        load(engine, data, f"dots{number}", change)
        done = onggi("run", "--rm", f"dots{number}", "cat", f"{canary}/file", "/link/file", status=None)
        assert "canary of the host" not in done.stdout


@pytest.mark.parametrize("place", ["/proc", "/proc/sys", "/../proc", "/sys/../proc"])
def test_cve_2019_16884_an_image_volume_over_proc(engine, onggi, place):
    load(engine, busybox_tar(), "overproc", f"VOLUME {place}")
    done = onggi("run", "--rm", "overproc", "stat", "-f", "-c", "%T", "/proc", status=None)
    assert done.returncode != 0 or done.stdout.strip() == "proc"
    assert onggi("run", "--rm", "-v", place, "busybox", "true", status=None).returncode != 0


ANNOTATIONS = {
    "org.systemd.property.DeviceAllow": "[('/dev/mem','rwm')]",
    "run.oci.handler": "krun",
    "run.oci.keep_original_groups": "1",
    "run.oci.seccomp.receiver": "/tmp/x",
    "run.oci.mount_context_type": "rootcontext",
    "io.kubernetes.cri-o.Devices": "/dev/vda",
    "io.kubernetes.cri-o.Unconfined": "1",
    "cdi.k8s.io/x": "vendor.com/device=all",
    "io.onggi.privileged": "true",
    "containerd.io/restart.loguri": "binary:///bin/touch?x=/ran",
    "module.wasm.image/variant": "compat",
}
LOOK = (
    "grep -E 'Cap|Groups|Seccomp' /proc/self/status; ls /dev;"
    " cut -d' ' -f5- /proc/self/mountinfo | grep -v lowerdir | sort"  # a spare mounts in another order
)


def test_cve_2024_3154_annotations_and_labels_select_nothing(engine, onggi):
    """CVE-2026-53492, CVE-2026-53488: what a container says about itself is data."""
    words = [word for item in ANNOTATIONS.items() for word in ("-l", "=".join(item))]
    words += [word for item in ANNOTATIONS.items() for word in ("-e", "=".join(item))]
    look = ["busybox", "sh", "-c", f"({LOOK}) | sed 's/[0-9a-f]\\{{64\\}}/ID/g'"]
    plain = onggi("run", "--rm", *look).stdout
    assert onggi("run", "--rm", *words, *look).stdout == plain
    body = {
        "Image": "busybox",
        "Cmd": look[1:],
        "Labels": ANNOTATIONS,
        "HostConfig": {"Annotations": ANNOTATIONS},
    }
    status, answer = ask(engine, "POST", "/containers/create", body)
    assert status in (201, 501), answer
    if status == 201:
        name = json.loads(answer)["Id"]
        assert onggi("start", "-a", name).stdout == plain
        onggi("rm", "-f", name)


def test_cve_2024_9341_nothing_of_the_host_is_bound_unasked(onggi, rootfs):
    """A container's mounts are kernel file systems and the three files that docker makes."""
    (rootfs / "etc/system-fips").symlink_to("/etc/shadow")
    (rootfs / "etc/crypto-policies").symlink_to("/")
    mounts = onggi("run", "--rm", "--rootfs", str(rootfs), "/bin/cat", "/proc/self/mountinfo").stdout
    real = {"/", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
    kernel = {"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"}
    rows = [(line.split()[4], line.split(" - ")[1].split()[0]) for line in mounts.splitlines()]
    assert {target for target, kind in rows if kind not in kernel} - real <= {
        target for target, _ in rows if target.startswith(("/proc/", "/sys/"))
    }


@pytest.mark.parametrize("entry", ["run", "exec"])
def test_cve_2023_25809_control_groups_are_read_only(onggi, entry):
    """CVE-2022-0492: no group is made, no release agent is set, by root inside."""
    script = (
        "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/evil; echo /x >$d/release_agent;"
        " echo 1 >$d/notify_on_release; echo $$ >$d/cgroup.procs; done 2>/dev/null;"
        " find /sys/fs/cgroup -name evil"
    )
    if entry == "run":
        assert onggi("run", "--rm", "busybox", "sh", "-c", script).stdout == ""
    else:
        with onggi.container("busybox", "sleep", "1000000") as name:
            assert onggi("exec", name, "sh", "-c", script).stdout == ""


def test_cve_2020_14386_no_packet_sockets_without_net_raw(onggi):
    code = (
        "import json, socket\ntry: socket.socket(socket.AF_PACKET, socket.SOCK_RAW); print('true')\n"
        "except PermissionError: print('false')"
    )
    assert onggi.probe(code, "--cap-drop=NET_RAW") is False
