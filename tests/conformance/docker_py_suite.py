"""Runs docker-py's integration tests (a checkout of github.com/docker/docker-py, not copied) on onggid.

    python tests/conformance/docker_py_suite.py --suite DIR [--only FILE ...] [--dockerd-root ROOT]

Needs root, pytest, paramiko and docker-py for the Python that runs it, and busybox-static for the images. An
engine of its own serves in private mount and network namespaces, then a dockerd that is unpacked below ROOT;
every file gets a pytest process of its own, because context_api_test.py changes the environment of those
after it. Prints a table by area; what does not pass is listed by name.
"""

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "src")]

import private_world  # noqa: E402 - it is found by the line above
from conformance import foreign, stand_ins  # noqa: E402

IMAGES = {
    "busybox": ("busybox:latest", "busybox:glibc", "alpine:3.10", "alpine:latest"),
    "hello": ("hello-world:latest", "hello-world:linux"),
}


def main() -> int:
    asked = foreign.parser(__doc__, "directory with tests/integration", "files, as api_exec_test.py")
    arguments = asked.parse_args()
    private_world.enter()
    return foreign.on_each(arguments, run)


def run(arguments: argparse.Namespace, engine: foreign.Engine) -> foreign.Results:
    # With a configuration there, docker-py keeps its contexts beside it, otherwise below its checkout.
    (engine.directory / ".docker").mkdir()
    (engine.directory / ".docker/config.json").write_text("{}\n")
    stand_ins.make_images(engine, IMAGES)
    files = sorted((arguments.suite / "tests/integration").rglob("*_test.py"))
    wanted = [file for file in files if not arguments.only or file.name in arguments.only]
    return foreign.run_files(arguments, engine, wanted)


if __name__ == "__main__":
    sys.exit(main())
