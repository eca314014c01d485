"""Logs that go to systemd's own journal, and come back."""

import json
import subprocess
from typing import Any

from tries import CHECKOUT, DEADLINE_S, command, docker, equal, start, tried

LONG, PIECE = 40_000, 16_384
SAYS = f"echo out; echo err >&2; head -c {LONG} /dev/zero | tr '\\0' x; printf '\\na\\377\\001b\\nrest'"
TOLD = ("--log-driver", "journald", "--log-opt", "tag={{.Name}}/{{.ID}}", "--log-opt", "labels=role")


def entries(container: str) -> list[dict[str, Any]]:
    """What the journal has of a container, once it is written; bytes that are no text are numbers."""
    command("journalctl", "--sync")
    said = command(
        "journalctl", "-o", "json", "--all", "CONTAINER_NAME=told", f"CONTAINER_ID_FULL={container}"
    )
    return [json.loads(line) for line in said.splitlines()]


def of(found: list[dict[str, Any]], name: str) -> list[Any]:
    return [entry[name] for entry in found if name in entry]


@tried
def journal() -> str:
    """--log-driver journald: docker's fields, a label, a tag, a line in parts, bytes that are no text"""
    container = start(*TOLD, "--name", "told", "--label", "role=tester", argv=("sh", "-c", SAYS))
    docker("wait", "told")
    found = entries(container)
    for name, value in [
        ("CONTAINER_ID", container[:12]), ("CONTAINER_ID_FULL", container), ("IMAGE_NAME", "box"),
        ("ROLE", "tester"),
        ("CONTAINER_TAG", f"told/{container[:12]}"), ("SYSLOG_IDENTIFIER", f"told/{container[:12]}"),
    ]:  # fmt: skip
        equal(name, of(found, name), [value] * len(found))
    # One pipe for each stream: which is read first is chance.
    messages = {name: [it["MESSAGE"] for it in found if it["PRIORITY"] == name] for name in ("3", "6")}
    pieces = ["x" * PIECE, "x" * PIECE, "x" * (LONG - 2 * PIECE)]
    equal("messages", messages, {"3": ["err"], "6": ["out", *pieces, [*b"a\xff\x01b"], "rest"]})
    equal("parts", of(found, "CONTAINER_PARTIAL_ORDINAL"), ["1", "2", "3", "1"])
    equal("last parts", of(found, "CONTAINER_PARTIAL_LAST"), ["false", "false", "true", "false"])
    equal("no last parts", of(found, "CONTAINER_PARTIAL_MESSAGE"), ["true"] * 3)
    equal("order", of(found, "CONTAINER_LOG_ORDINAL"), [str(number + 1) for number in range(len(found))])
    return f"{len(found)} entries"


@tried
def journal_read_back() -> str:
    """`onggi logs` of --log-driver journald: --tail and -f while it writes, --since, whole"""
    gates = "mkfifo /gate; exec 3<>/gate; for n in 1 2 3; do echo $n; read x <&3; done"
    container = start(*TOLD, "--name", "told", argv=("sh", "-c", gates))
    follow = ["timeout", str(DEADLINE_S), "./onggi", "logs", "-f", "--tail", "1", "told"]
    seen = []
    with subprocess.Popen(follow, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout
        for line in reader.stdout:
            seen.append(line.strip())
            # The last one may be killed when the container ends.
            docker("exec", "told", "sh", "-c", "echo on >/gate", status=None)
    equal("followed", seen, ["1", "2", "3"])
    times = [line.split()[0] for line in command("./onggi", "logs", "-t", "told").splitlines()]
    equal("since", command("./onggi", "logs", "--since", times[1], "told").split(), ["2", "3"])
    equal("tail", command("./onggi", "logs", "--tail", "2", "told").split(), ["2", "3"])
    equal("journal", of(entries(container), "MESSAGE"), seen)
    return "followed, and read again"
