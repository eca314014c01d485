"""What is tried inside a machine with control groups of version 2 alone and systemd as its first process.

Standard library only. Arguments: the port for results (one JSON object a line), and words: only tries whose
name has one of them run. Each begins with the engine as a systemd service; the containers of one are removed
before the next.
"""

import json
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import tries_engine
import tries_life
import tries_limits
import tries_logs
import tries_others
from tries import DISK, TRIES, Failed, command, docker

ALL = (tries_engine, tries_limits, tries_life, tries_logs, tries_others)  # importing them makes the list


def prepare() -> None:
    """The service, swap, the scheduler BFQ, the image."""
    command("modprobe", "bfq", status=None)
    scheduler = Path(f"/sys/block/{Path(DISK).name}/queue/scheduler")
    scheduler.write_text("bfq")
    if len(Path("/proc/swaps").read_text().splitlines()) == 1:
        command("sh", "-c", "fallocate -l 256M /swap && chmod 600 /swap && mkswap /swap && swapon /swap")
    command("./onggi", "daemon", "--install", "--docker-socket")
    command("systemctl", "daemon-reload")
    command("systemctl", "enable", "--now", "onggi", deadline=600)
    if "box" not in docker("images", "--format", "{{.Repository}}").split():
        import_box()


def import_box() -> None:
    place = Path("/tmp/box")
    (place / "bin").mkdir(parents=True, exist_ok=True)
    (place / "tmp").mkdir(exist_ok=True)
    (place / "etc").mkdir(exist_ok=True)
    command("cp", "/bin/busybox", str(place / "bin"))
    for name in command("busybox", "--list").split():
        if name != "busybox" and not (place / "bin" / name).is_symlink():
            (place / "bin" / name).symlink_to("busybox")
    command("sh", "-c", f"tar -C {place} -c . | docker import - box")


def clear() -> None:
    names = docker("ps", "-aq").split()
    if names:
        docker("rm", "-f", *names)


def results(words: list[str]) -> Iterator[dict[str, object]]:
    prepare()
    for name, function in TRIES.items():
        if words and not any(word in name for word in words):
            continue
        began = time.monotonic()
        try:
            said, good = function(), True
        except Exception as error:
            said = str(error) if isinstance(error, Failed) else traceback.format_exc()
            good = False
        took = round(time.monotonic() - began)
        yield {"name": name, "what": function.__doc__, "good": good, "said": said, "took": took}
        clear()


def main() -> int:
    with open(sys.argv[1], "w", encoding="utf-8") as port:
        try:
            for result in results(sys.argv[2:]):
                print(json.dumps(result), file=port, flush=True)
            print(json.dumps({"end": True}), file=port, flush=True)
        except Exception:
            print(json.dumps({"end": False, "said": traceback.format_exc()}), file=port, flush=True)
            raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
