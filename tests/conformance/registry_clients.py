"""Lets other engines' clients push to, pull from and mirror the embedded registry.

    python tests/conformance/registry_clients.py [--dockerd DIR]

Uses skopeo, podman and our own command where they are installed, and with `--dockerd` a dockerd and its
containerd below DIR (usr/sbin, usr/bin), each with storage of its own. Needs root: everything runs in private
mount and network namespaces. Prints each step and whether it did what it should; fails if one did not.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "src")]

import private_world  # noqa: E402
from conformance.dockerd import ALONE, docker_engine  # noqa: E402 - it is found by the line above
from engines import ONGGI, RealEngine  # noqa: E402
from registries import serving  # noqa: E402

REGISTRY, MIRROR = "127.0.0.1:5000", "127.0.0.1:5001"


class Steps:
    """Runs commands and remembers which did not do what they should."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment, self.failed = environment, 0

    def __call__(self, *command: str, expect: str = "") -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300)
        good = done.returncode == 0 and expect in done.stdout + done.stderr
        self.failed += not good
        shown = " ".join(word for word in command if word not in ONGGI)
        print(f"{'ok' if good else 'FAILED'}  {shown}", flush=True)
        if not good:
            print(done.stdout + done.stderr)
        return done.stdout


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--dockerd", type=Path, help="where a dockerd and containerd are unpacked")
    arguments = parser.parse_args()
    private_world.enter()
    directory = Path(tempfile.mkdtemp(prefix="clients-"))
    engine = RealEngine(directory)
    steps = Steps(engine.environment | {"PATH": os.environ["PATH"]})
    try:
        engine.start()
        engine.import_busybox()
        with (
            serving(engine, Address=REGISTRY),
            serving(engine, Address=MIRROR, Mirror=f"http://{REGISTRY}"),
        ):
            run(steps, directory, arguments.dockerd)
    finally:
        engine.destroy()
        subprocess.run(["umount", "-l", "-R", str(directory)], stderr=subprocess.DEVNULL)
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if steps.failed else 0


def run(steps: Steps, directory: Path, dockerd: Path | None) -> None:
    if shutil.which("skopeo"):
        skopeo(steps, directory)
        ours(steps)
    if shutil.which("podman"):
        podman(steps, directory)
    if dockerd:
        with docker_engine(dockerd, directory / "dockerd", *ALONE) as address:
            docker(steps, ["docker", "-H", address])


def skopeo(steps: Steps, directory: Path) -> None:
    source, target = "--src-tls-verify=false", "--dest-tls-verify=false"
    layout = f"oci:{directory}/layout:1"
    steps("skopeo", "copy", source, f"docker://{REGISTRY}/busybox:latest", layout)
    for name, form in (("oci", "oci"), ("docker", "v2s2")):
        steps("skopeo", "copy", target, "--format", form, layout, f"docker://{REGISTRY}/skopeo/app:{name}")
        raw = steps(
            "skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{REGISTRY}/skopeo/app:{name}"
        )
        digest = json.loads(raw)["layers"][0]["digest"]
        image = f"docker://{MIRROR}/skopeo/app:{name}"
        steps("skopeo", "inspect", "--tls-verify=false", image, expect=digest)
        steps("skopeo", "copy", source, image, f"dir:{directory}/skopeo-{name}")
    tags = ["skopeo", "list-tags", "--tls-verify=false"]
    steps(*tags, f"docker://{REGISTRY}/skopeo/app", expect='"docker",')
    steps("skopeo", "delete", "--tls-verify=false", f"docker://{REGISTRY}/skopeo/app:docker")
    steps(*tags, f"docker://{REGISTRY}/skopeo/app", expect='"oci"\n')


def ours(steps: Steps) -> None:
    image = f"{REGISTRY}/skopeo/app:oci"
    steps(*ONGGI, "run", "--rm", image, "echo", "it runs", expect="it runs")
    steps(*ONGGI, "pull", image, expect="up to date")


def podman(steps: Steps, directory: Path) -> None:
    own = ["podman", "--root", f"{directory}/podman", "--runroot", f"{directory}/podman-run"]
    own += ["--storage-driver", "vfs"]
    plain = "--tls-verify=false"
    steps(*own, "pull", plain, f"{REGISTRY}/busybox:latest")
    for name, form in (("oci", "oci"), ("docker", "v2s2")):
        image = f"{REGISTRY}/podman/app:{name}"
        steps(*own, "tag", f"{REGISTRY}/busybox:latest", image)
        steps(*own, "push", plain, "--format", form, image)
        steps(*own, "pull", plain, image.replace(REGISTRY, MIRROR))
    steps(*own, "manifest", "create", "list")
    steps(*own, "manifest", "add", plain, "list", f"docker://{REGISTRY}/podman/app:oci")
    steps(*own, "manifest", "push", "--all", plain, "list", f"docker://{REGISTRY}/podman/list:1")
    steps(*own, "pull", plain, f"{MIRROR}/podman/list:1")


def docker(steps: Steps, command: list[str]) -> None:
    image = f"{REGISTRY}/docker/app:1"
    steps(*command, "version", "--format", "{{.Server.Version}}")
    steps(*command, "pull", f"{REGISTRY}/busybox:latest", expect="Downloaded newer image")
    steps(*command, "tag", f"{REGISTRY}/busybox:latest", image)
    steps(*command, "push", image, expect="Mounted from busybox")
    steps(*command, "push", image, expect="Layer already exists")
    steps(*command, "rmi", "-f", image, f"{REGISTRY}/busybox:latest")
    steps(*command, "pull", image, expect="Pull complete")
    steps(*command, "pull", "-a", f"{REGISTRY}/docker/app")
    steps(*command, "pull", image.replace(REGISTRY, MIRROR), expect="Downloaded newer image")


if __name__ == "__main__":
    sys.exit(main())
