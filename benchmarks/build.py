#!/usr/bin/env python3
"""Builds beside docker's and buildah's, each by its own command, process start included.

Every round gives each builder a new ext4 file system and an empty cache: ten cheap RUN steps, the same
cached, four independent stages that burn CPU (and the same four in a row), COPY of 20 000 small files, that
unchanged, and that with one file changed. Needs root and busybox; it makes namespaces of its own.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benchmarks import records, sampling  # noqa: E402
from benchmarks.engines import CHECKOUT, busybox_archive, dockerd, fresh_disk, onggi, run  # noqa: E402
from benchmarks.sampling import Sample, busy  # noqa: E402

BASE, FILES, BURN = "bench-base", 20_000, 1_000_000
CASES = ("10 RUN steps", "cached", "4 stages", "4 in a row", "COPY", "COPY unchanged", "COPY one changed")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--dockerd-root", type=Path, help="docker 28: where usr/sbin/dockerd ... lie; BuildKit"
    )
    parser.add_argument(
        "--old-root", type=Path, help="docker 20.10 and buildah: the same; the classic builder"
    )
    parser.add_argument("--burn", type=int, default=BURN, help="steps of a loop of one stage, about 2 s")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    return parser.parse_args()


class Builder(NamedTuple):
    """``build`` are the words before the context; ``load`` makes the base image of a tar."""

    name: str
    build: tuple[str, ...]
    load: Callable[[Path], None]
    env: dict[str, str]


# -- contexts ----------------------------------------------------------------------------------------------


def write_contexts(place: Path, burn: int) -> dict[str, Path]:
    """One directory for each Dockerfile."""
    loop = f"i=0; while [ $i -lt {burn} ]; do i=$((i+1)); done; echo $i"
    steps = [f"RUN {loop} > /burnt{number}" for number in range(4)]
    stages = [f"FROM {BASE} AS s{number}\n{step}" for number, step in enumerate(steps)]
    copies = [f"COPY --from=s{number} /burnt{number} /" for number in range(4)]
    texts = {
        "cheap": [f"FROM {BASE}", *(f"RUN echo {number} > /step{number}" for number in range(10))],
        "stages": [*stages, f"FROM {BASE}", *copies],
        "row": [f"FROM {BASE}", *(step.replace("burnt", "row") for step in steps)],
        "many": [f"FROM {BASE}", "COPY files /files"],
    }
    for name, lines in texts.items():
        (place / name).mkdir()
        (place / name / "Dockerfile").write_text("\n".join(lines) + "\n")
    for number in range(FILES):
        path = place / "many/files" / f"d{number % 100}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {number}\n" * 40)
    return {name: place / name for name in texts}


# -- builders ----------------------------------------------------------------------------------------------


def _importing(command: tuple[str, ...], env: dict[str, str]) -> Callable[[Path], None]:
    def load(archive: Path) -> None:
        quiet = subprocess.DEVNULL
        subprocess.run(
            [*command, "import", str(archive), BASE], check=True, env=env, stdout=quiet, stdin=quiet
        )

    return load


@contextlib.contextmanager
def ours(disk: Path, scratch: Path, _: argparse.Namespace) -> Iterator[Builder]:
    cli = str(CHECKOUT / "onggi")
    with onggi(disk, scratch, str(shutil.which("docker"))) as address:
        env = dict(os.environ, DOCKER_HOST=address)
        yield Builder("onggi", (cli, "build", "-q"), _importing((cli,), env), env)


@contextlib.contextmanager
def docker(disk: Path, scratch: Path, root: Path, buildkit: bool) -> Iterator[Builder]:
    """Its own client, plugins included."""
    cli, home = str(root / "usr/bin/docker"), scratch / "home"
    plugins = home / ".docker/cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    plugin = root / "usr/libexec/docker/cli-plugins/docker-buildx"
    if buildkit and not (plugins / "docker-buildx").exists():
        (plugins / "docker-buildx").symlink_to(plugin)
    with dockerd(disk, scratch, cli, root) as address:
        env = dict(os.environ, DOCKER_HOST=address, HOME=str(home), DOCKER_BUILDKIT="1" if buildkit else "0")
        name = "BuildKit" if buildkit else "classic"
        yield Builder(name, (cli, "build", "-q"), _importing((cli,), env), env)


@contextlib.contextmanager
def buildah(disk: Path, scratch: Path, options: argparse.Namespace) -> Iterator[Builder]:
    group = "onggi-bench-buildah"
    tool = [str(options.old_root / "usr/bin/buildah"), "--root", str(disk / "buildah")]
    tool += ["--runroot", str(scratch / "buildah")]
    bud = ["bud", "-q", "--layers", "--cgroup-parent", f"/{group}"]
    bud += ["--runtime", str(options.old_root / "usr/sbin/runc")]  # crun refuses hybrid hosts

    def load(archive: Path) -> None:
        made = subprocess.run([*tool, "from", "scratch"], check=True, capture_output=True, text=True)
        name = made.stdout.strip()
        for words in (("add", "-q", name, str(archive), "/"), ("commit", "-q", name, BASE), ("rm", name)):
            run(*tool, *words, quiet=True)

    yield Builder("buildah", (*tool, *bud), load, dict(os.environ))
    subprocess.run(["umount", "-R", str(disk / "buildah/overlay")], capture_output=True)


Opener = Callable[[Path, Path], contextlib.AbstractContextManager[Builder]]


def builders(options: argparse.Namespace) -> dict[str, Opener]:
    found: dict[str, Opener] = {"onggi": lambda disk, scratch: ours(disk, scratch, options)}
    if options.old_root:
        found["classic"] = lambda disk, scratch: docker(disk, scratch, options.old_root, False)
        found["buildah"] = lambda disk, scratch: buildah(disk, scratch, options)
    if options.dockerd_root:
        found["BuildKit"] = lambda disk, scratch: docker(disk, scratch, options.dockerd_root, True)
    return found


# -- the run -----------------------------------------------------------------------------------------------


def build(builder: Builder, context: Path, tag: str) -> Sample:
    began, used = time.perf_counter(), busy()
    done = subprocess.run(
        [*builder.build, "-t", tag, str(context)],
        env=builder.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    if done.returncode:
        raise RuntimeError(f"{builder.name} {context.name}: {done.stderr.decode()[-2000:]}")
    return Sample(time.perf_counter() - began, busy() - used)


def sample(open_: Opener, scratch: Path, contexts: dict[str, Path], archive: Path) -> dict[str, Sample]:
    """Every case once on an empty store."""
    with fresh_disk(scratch) as disk, open_(disk, scratch) as builder:
        builder.load(archive)
        found = {"10 RUN steps": build(builder, contexts["cheap"], "cheap")}
        found["cached"] = build(builder, contexts["cheap"], "cheap")
        found["4 stages"] = build(builder, contexts["stages"], "stages")
        found["4 in a row"] = build(builder, contexts["row"], "row")
        found["COPY"] = build(builder, contexts["many"], "many")
        found["COPY unchanged"] = build(builder, contexts["many"], "many")
        changed = contexts["many"] / "files/d7/f7"
        changed.write_text(f"changed at {time.time_ns()}\n")
        found["COPY one changed"] = build(builder, contexts["many"], "many")
    return found


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, list[Sample]]:
    contexts, archive = write_contexts(scratch, options.burn), busybox_archive(scratch)
    openers = builders(options)
    results: dict[str, list[Sample]] = {f"{name}: {case}": [] for case in CASES for name in openers}
    for _ in range(options.rounds):
        for name, open_ in openers.items():
            for case, it in sample(open_, scratch, contexts, archive).items():
                results[f"{name}: {case}"].append(it)
                print(f"{name}: {case}: {it.wall:.2f} s", flush=True)
    return results


def verdicts(results: dict[str, list[Sample]]) -> list[dict[str, Any]]:
    """Each promise that this run can judge."""
    peers = [name for name in ("classic", "buildah", "BuildKit") if f"{name}: cached" in results]

    def wall(name: str) -> float:
        return sampling.median([it.wall for it in results[name]])

    rows = [
        ("COPY unchanged, s", wall("onggi: COPY unchanged"), 1.5),
        ("COPY one changed, s", wall("onggi: COPY one changed"), 2.5),
        ("4 stages / in a row", wall("onggi: 4 stages") / wall("onggi: 4 in a row"), 1 / 1.6),
    ]
    if peers:
        fastest = min(wall(f"{it}: cached") for it in peers)
        rows.append(("cached / fastest", wall("onggi: cached") / fastest, 1.0))
    if "classic" in peers:
        for case, limit in (("10 RUN steps", 0.15), ("COPY", 0.3)):
            rows.append((f"{case} / classic", wall(f"onggi: {case}") / wall(f"classic: {case}"), limit))
    if "BuildKit" in peers:
        steps = wall("onggi: 10 RUN steps") / wall("BuildKit: 10 RUN steps")
        rows.append(("10 RUN steps / BuildKit", steps, 0.3))
    return [records.verdict(*row) for row in rows]


def versions(options: argparse.Namespace) -> dict[str, str]:
    tools = {}
    if options.old_root:
        tools |= {
            "classic": options.old_root / "usr/sbin/dockerd",
            "buildah": options.old_root / "usr/bin/buildah",
        }
    if options.dockerd_root:
        tools["BuildKit"] = options.dockerd_root / "usr/sbin/dockerd"
    return {name: records.version(str(tool), "--version") for name, tool in tools.items()}


def main() -> None:
    options = arguments()
    records.alone(__file__)
    with tempfile.TemporaryDirectory(prefix="onggi-bench-", dir="/var/tmp") as directory:
        results = measure(options, Path(directory))
    records.write("build", options.results, verdicts(results), results, {"versions": versions(options)})


if __name__ == "__main__":
    main()
