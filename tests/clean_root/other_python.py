"""Runs the unit tests under a Python that this machine lacks, in a Debian root file system that has it.

    python other_python.py 3.13 DIRECTORY

The root and its packages are kept in DIRECTORY for the next time. pip runs outside, so that the root needs
neither pip nor a network.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clean_root import root

CHECKOUT = Path(__file__).resolve().parents[2]
DEBIAN = {"3.11": "bookworm", "3.13": "trixie"}


def requirements() -> list[str]:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["test"]]


def install(version: str, packages: Path) -> None:
    """Install the wheels for that version; pip judges markers by its own Python, which is close enough."""
    pip = [
        sys.executable,
        "-I",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ]
    target = ["--target", str(packages), "--python-version", version, "--only-binary", ":all:"]
    subprocess.run([*pip, *target, *requirements()], check=True, stdin=subprocess.DEVNULL)


def prepare(version: str, directory: Path) -> None:
    part = directory.with_suffix(".part")
    subprocess.run(["rm", "-rf", part, directory], check=True)
    part.mkdir(parents=True)
    root.make(DEBIAN[version], part / "fs")
    install(version, part / "packages")
    part.rename(directory)


def main() -> int:
    version, directory = sys.argv[1], Path(sys.argv[2]).absolute()
    if not directory.exists():
        prepare(version, directory)
    env = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/root", "LANG": "C.UTF-8"}
    env |= {"PYTHONPATH": str(directory / "packages"), "PYTHONDONTWRITEBYTECODE": "1"}
    pytest = f"cd '{CHECKOUT}' && exec python{version} -m pytest -q -n auto tests/unit"
    world = root.World(directory / "fs", [str(CHECKOUT)], env, f"onggi-check-{os.getpid()}")
    status = root.run(world, ["sh", "-c", pytest])
    print(f"exit status {status}")
    return status


if __name__ == "__main__":
    sys.exit(main())
