"""Tries Onggi on a virtual machine with control groups of version 2 alone and systemd as first process.

    sudo python3 tests/v2_machine/run.py [--only WORD ...] [--keep DIRECTORY] [--table FILE]

Needs qemu-system-x86, mmdebstrap, the docker command, and the environments that ``./check`` has made. Makes a
Debian root file system, puts a clean archive of HEAD into it, boots it with ``inside.py`` as a service, and
shows what that tells of each try. In software (unless --accelerator kvm) it takes an hour, without a network.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import proofs
from clean_root import root
from clean_root.other_python import DEBIAN
from clean_root.run import archive

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCE = "opt/onggi"
PACKAGES = (
    "linux-image-cloud-amd64 systemd-sysv udev dbus kmod procps python3 python3-venv busybox-static nftables "
    "iproute2 iptables libseccomp2 git openssh-client"
)
UNIT = """\
[Unit]
Description=Tries of Onggi
[Service]
ExecStart=/usr/bin/python3 /{source}/tests/v2_machine/inside.py /dev/ttyS1 {words}
ExecStopPost=/bin/systemctl poweroff --no-block
"""


def environments() -> list[Path]:
    """What ./check made for the tests and ./onggi for itself."""
    made = CHECKOUT / ".onggi"
    found = [*made.glob("env-*"), *made.glob("dev-*")]
    if len(found) < 2:
        raise SystemExit(f"no environments in {made}: run ./onggi version and sudo ./check --quick first")
    return found


def python_version(environment: Path) -> str:
    lines = (environment / "pyvenv.cfg").read_text().splitlines()
    words = dict(line.split(" = ", 1) for line in lines if " = " in line)
    return ".".join(words["version"].split(".")[:2])


def furnish(place: Path, words: list[str]) -> None:
    """Put the checkout, its environments, the docker command and the service into a root."""
    source = place / SOURCE
    shutil.rmtree(source, ignore_errors=True)
    archive(source, "HEAD")
    for environment in environments():
        shutil.copytree(environment, source / ".onggi" / environment.name, symlinks=True)
    (source / ".onggi/lock").touch()
    docker = shutil.which("docker")
    if not docker:
        raise SystemExit("the docker command is missing")
    shutil.copy(docker, place / "usr/local/bin/docker")
    unit = UNIT.format(source=SOURCE, words=" ".join(words))
    (place / "etc/systemd/system/tries.service").write_text(unit)
    wanted = place / "etc/systemd/system/multi-user.target.wants/tries.service"
    wanted.unlink(missing_ok=True)
    wanted.parent.mkdir(exist_ok=True)
    wanted.symlink_to("../tries.service")
    subprocess.run(["chroot", place, "python3", "-m", "compileall", "-q", f"/{SOURCE}/src"], check=True)


def image(place: Path, target: Path) -> None:
    """An ext4 file system with everything of a root."""
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", place, target, "6G"], check=True)


def machine(accelerator: str, place: Path, disk: Path, console: Path) -> list[str]:
    """The command line of the virtual machine; what the service tells is its standard output."""
    kernel, initrd = (next((place / "boot").glob(f"{name}-*")) for name in ("vmlinuz", "initrd.img"))
    drive = f"file={disk},format=raw,if=virtio,cache=unsafe"
    words = ["qemu-system-x86_64", "-machine", "q35", "-accel", accelerator]
    words += ["-cpu", "max", "-smp", "2", "-m", "3072", "-nodefaults", "-display", "none", "-no-reboot"]
    words += ["-drive", drive, "-kernel", str(kernel), "-initrd", str(initrd)]
    words += ["-append", "root=/dev/vda rw console=ttyS0 quiet"]
    return [*words, "-serial", f"file:{console}", "-serial", "stdio"]


def results(argv: list[str], deadline_s: float) -> Iterator[dict[str, Any]]:
    """What the service tells, until the machine is off."""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    timer = threading.Timer(deadline_s, process.kill)
    timer.start()
    try:
        assert process.stdout
        for line in process.stdout:
            if line.startswith(b"{"):
                yield json.loads(line)
    finally:
        timer.cancel()
        process.kill()
        process.wait()


def row(result: dict[str, Any]) -> str:
    said = " ".join(result["said"].split()).replace("|", "\\|")
    verdict = "yes" if result["good"] else "**no**"
    return f"| {result['name']} | {result['what']} | {verdict} | {said[:300]} | {result['took']} |"


def attempt(given: argparse.Namespace, scratch: Path) -> tuple[list[dict[str, Any]], bool]:
    """The results of all tries, and whether the last one was told."""
    place = given.keep or scratch / "root"
    if not place.exists():
        root.make(DEBIAN[python_version(environments()[0])], place, PACKAGES.split())
    furnish(place, given.only)
    disk, console = scratch / "disk", scratch / "console"
    image(place, disk)
    found: list[dict[str, Any]] = []
    for result in results(machine(given.accelerator, place, disk, console), given.deadline):
        if "end" in result:
            print(result.get("said", ""), end="")
            return found, result["end"]
        found.append(result)
        print(f"{'ok  ' if result['good'] else 'FAIL'} {result['name']}: {result['said']}", flush=True)
    print(console.read_text(errors="replace")[-3000:])
    return found, False


def page(given: argparse.Namespace, found: list[dict[str, Any]], began: float) -> str:
    words = ["tests/v2_machine/run.py", *(["--only", *given.only] if given.only else [])]
    said = f"`{' '.join(words)}`: {round(time.monotonic() - began)} s with {given.accelerator}"
    good = sum(result["good"] for result in found)
    rows = "\n".join(row(result) for result in found)
    head = "| try | what | as it should be | what came out | s |\n|---|---|---|---|---:|\n"
    return f"{said}; {good} of {len(found)} as they should be.\n\n{head}{rows}\n"


def main() -> int:
    parser = proofs.parser(deadline=4 * 3600)
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="tries whose name has a word")
    parser.add_argument("--keep", type=Path, help="where the root file system is, or is kept")
    parser.add_argument("--accelerator", default="tcg,thread=multi", help="qemu's, such as kvm")
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="onggi-v2-", dir="/var/tmp") as scratch:
        found, complete = attempt(given, Path(scratch))
    proofs.publish(given, "Control groups of version 2 alone, under systemd", page(given, found, began))
    return int(not complete or not all(result["good"] for result in found))


if __name__ == "__main__":
    sys.exit(main())
