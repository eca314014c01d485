"""What ``onggi try`` shows: one shell script of probes, run inside a container and outside, and the table.

Nothing in the table is a constant: every cell is a line that the script printed on its side.
"""

from __future__ import annotations

import os

from onggi.client.errors import ClientError
from onggi.client.frames import demultiplex
from onggi.frames import STDERR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from onggi.client.engine import Engine
    from onggi.client.http import Response

    Facts = dict[str, str]

# $1: a path. The same text runs on both sides; `name=value` lines are its result.
SCRIPT = r"""
limit() { # limit CONTROLLER FILE-OF-V1 FILE-OF-V2: of the group this process is in
    group= file=$3
    while IFS=: read -r _ names path; do
        case ,$names, in
        *,$1,*) group=/sys/fs/cgroup/$1$path file=$2 ;;
        ,,) group=${group:-/sys/fs/cgroup$path} ;;
        esac
    done </proc/self/cgroup
    # The root group of v2 has no limit files.
    cat "$group/$file" 2>/dev/null || { [ -e "$group/cgroup.procs" ] && echo max || echo "not visible"; }
}
secrets() {
    for file in /etc/shadow /etc/gshadow /etc/sudoers /etc/ssh/ssh_host_*_key /etc/ssl/private/* \
        /root/.[!.]* /root/.ssh/* /home/*/.[!.]* /home/*/.ssh/*; do
        [ ! -f "$file" ] || [ ! -r "$file" ] || printf '%s ' "$file"
    done
}
echo "hostname=$(cat /proc/sys/kernel/hostname)"
echo "process 1=$(tr '\0' ' ' </proc/1/cmdline)"
set -- "$1" /proc/[0-9]*
echo "processes=$(($# - 1))"
echo "interfaces=$(sed -n 's/^ *\([^:]*\):.*/\1/p' /proc/net/dev | tr '\n' ' ')"
echo "memory limit=$(limit memory memory.limit_in_bytes memory.max)"
echo "pids limit=$(limit pids pids.max pids.max)"
echo "visible secrets=$(secrets)"
[ -e "$1" ] && echo file=there || echo file=absent
"""
_UNLIMITED = 1 << 60  # cgroup v1 says "no limit" by the largest page-aligned number


def outside(path: str) -> Facts:
    """Run the probes as a process of this machine; ``path`` is the file to look for."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, write_end, 1)]
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", SCRIPT, "sh", path], os.environ, file_actions=actions)
    finally:
        os.close(write_end)
    with open(read_end, encoding="utf-8", errors="replace") as output:
        text = output.read()
    os.waitpid(pid, 0)
    return parse(text)


def inside(engine: Engine, container: str, path: str) -> Facts:
    """Write the file ``path`` in the container, then run the probes there. Raises ClientError."""
    command = ["sh", "-c", f'echo written >"$1"\n{SCRIPT}', "sh", path]
    body = {"AttachStdout": True, "AttachStderr": True, "Cmd": command}
    exec_id = engine.post(f"/containers/{container}/exec", body=body)["Id"]
    response = engine.upgrade(f"/exec/{exec_id}/start", body={"Detach": False, "Tty": False})
    out, err = bytearray(), bytearray()
    for kind, payload in demultiplex(_pieces(response), framed=True):
        (err if kind == STDERR else out).extend(payload)
    status = engine.get(f"/exec/{exec_id}/json")["ExitCode"]
    if status or not out:
        words = err.decode("utf-8", "replace").strip()
        raise ClientError(f"the probes inside the container ended with status {status}: {words}")
    return parse(out.decode("utf-8", "replace"))


def _pieces(response: Response) -> Iterator[bytes]:
    if response.status != 101:
        yield from response.chunks()
        return
    sock, early = response.take_over()
    try:
        yield early
        while data := sock.recv(1 << 16):
            yield data
    finally:
        sock.close()


def parse(text: str) -> Facts:
    """Return the facts of the script's output, values trimmed."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name: value.strip() for name, _, value in pairs}


def table(within: Facts, without: Facts, path: str) -> str:
    """Return the table *inside | outside*, one row a fact."""
    rows = [("", "inside", "outside")]
    for name in within:
        title = f"file {path}" if name == "file" else {"interfaces": "network interfaces"}.get(name, name)
        rows.append((title, _shown(name, within[name]), _shown(name, without.get(name, "not known"))))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"  {a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows)


def _shown(name: str, value: str) -> str:
    if name == "visible secrets":
        return _list_of(value.split())
    if name.endswith("limit"):
        return _limit(value, "MiB" if name.startswith("memory") else "")
    return value if len(value) <= 40 else value[:37] + "..."


def _list_of(paths: list[str]) -> str:
    if not paths:
        return "none"
    more = f" and {len(paths) - 2} more" if len(paths) > 2 else ""
    return ", ".join(paths[:2]) + more


def _limit(value: str, unit: str) -> str:
    if not value.isdigit() or int(value) >= _UNLIMITED:
        return "unlimited" if value == "max" or value.isdigit() else value
    return f"{int(value) >> 20} {unit}" if unit else value
