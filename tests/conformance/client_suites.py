"""Runs the suites of clients of docker's API (checkouts, not copied) on onggid, and on a dockerd to compare.

    python tests/conformance/client_suites.py NAME --suite DIR --python PYTHON [--dockerd-root ROOT]
        [--only WORD ...] [--output DIR]

NAME is aiodocker (github.com/aio-libs), python-on-whales (github.com/gabrieldemarmiesse), or testcontainers
(github.com/testcontainers/testcontainers-python). PYTHON is that of a virtual environment with the suite's
own requirements for tests, and pytest-timeout. Needs root, docker-registry and busybox-static; images are
stand-ins with programs of PATH and of ROOT (bash, nginx, socat, dockerd ...), and plugins of docker's
command come from ROOT. Each engine serves in private mount and network namespaces. Prints counts, and the
cases that do not pass on either.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "src")]

import private_world  # noqa: E402 - it is found by the line above
from conformance import foreign, stand_ins  # noqa: E402

SOCKET = Path("/run/docker.sock")
PLUGINS = "usr/libexec/docker/cli-plugins"
RYUK = ("testcontainers/ryuk:0.8.1",)


class Suite(NamedTuple):
    """Its files, those left out, the names of each kind of stand-in, options for pytest."""

    files: str
    without: tuple[str, ...]
    images: dict[str, tuple[str, ...]]
    options: tuple[str, ...] = ()


SUITES = {
    "aiodocker": Suite(
        "tests/test_*.py",
        (),
        {
            "python": ("python:latest", "python:3.13-alpine", "python:3.14-alpine"),
            "registry": ("registry:2",),
            "dind": ("docker:dind",),
            "ryuk": RYUK,
        },
    ),
    "testcontainers": Suite(
        "tests/core/test_*.py",
        ("test_community_definition.py", "test_legacy_module_imports.py"),  # about its modules, not the core
        {
            "bash": (
                *("alpine:latest", "bash:latest", "busybox:latest", "busybox:buildroot-2014.02"),
                *("postgres:latest", "ubuntu:latest"),
            ),
            "hello": ("hello-world:latest",),
            "nginx": ("nginx:latest", "nginx:alpine", "nginx:alpine-slim", "nginx:1.25.4-alpine-slim"),
            "socat": ("alpine/socat:latest",),
            "registry": ("registry:2",),
            "dind": ("docker:dind",),
            "ryuk": RYUK,
        },
    ),
    "python-on-whales": Suite(
        "tests/**/test_*.py",
        (
            *("test_buildx_cli_wrapper.py", "test_imagetools_cli_wrapper.py"),
            *("test_plugin.py", "test_pod.py"),
            *(f"test_{it}.py" for it in ("config", "node", "secret", "service", "stack", "swarm", "task")),
        ),
        {
            "bash": (
                *("busybox:latest", "busybox:1", "busybox:1.26", "busybox:1.32", "alpine:latest"),
                *("ubuntu:latest", "ubuntu:16.04", "ubuntu:18.04", "ubuntu:20.04"),
            ),
            "hello": ("hello-world:latest",),
            "python": ("python:3.11", "python:3.12", "python:3.13.0", "python:3.8-slim"),
            "htpasswd": ("mhenry07/apache2-utils:latest",),
            "registry": ("registry:2",),
        },
        ("-m", "not podman"),
    ),
}  # fmt: skip


def main() -> int:
    asked = foreign.parser(__doc__, "the checkout", "files whose name has one of these words")
    asked.add_argument("name", choices=sorted(SUITES), metavar="NAME", help=", ".join(SUITES))
    asked.add_argument("--python", required=True, help="of the virtual environment")
    arguments = asked.parse_args()
    arguments.suite = arguments.suite.resolve()
    private_world.enter()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", SOCKET.parent], check=True)
    return foreign.on_each(arguments, run, mirrored=True)


def run(arguments: argparse.Namespace, engine: foreign.Engine) -> foreign.Results:
    suite = SUITES[arguments.name]
    furnish(arguments.dockerd_root, engine)
    path = os.environ["PATH"]
    if root := arguments.dockerd_root:
        path = f"{root}/usr/sbin:{root}/usr/bin:{path}"
    stand_ins.make_images(engine, suite.images, path)
    files = [
        file
        for file in sorted(arguments.suite.glob(suite.files))
        if file.name not in suite.without
        and (not arguments.only or any(word in file.name for word in arguments.only))
    ]
    options = ["--timeout", "300", *suite.options]
    return foreign.run_files(arguments, engine, files, arguments.python, options)


def furnish(root: Path | None, engine: foreign.Engine) -> None:
    """The engine at the address that everybody knows; docker's plugins where its command looks for them."""
    engine.environment["DOCKER_BUILDKIT"] = "0"
    SOCKET.unlink(missing_ok=True)
    SOCKET.symlink_to(engine.environment["DOCKER_HOST"].removeprefix("unix://"))
    configuration = engine.directory / ".docker"
    configuration.mkdir()
    if root:
        (configuration / "cli-plugins").symlink_to(root / PLUGINS)


if __name__ == "__main__":
    sys.exit(main())
