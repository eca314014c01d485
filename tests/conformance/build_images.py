"""Builds of one set of Dockerfiles by this engine and by a dockerd with its BuildKit: is it the same image?

Compared are the configuration, the history and the file tree, times masked; what differs on purpose is listed
in ``EXPLAINED``. ``DIR`` has usr/sbin/dockerd, usr/bin and usr/libexec/docker/cli-plugins of docker 28.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1] / "src")]

from build_cases import CASES  # noqa: E402
from dockerd import docker_engine  # noqa: E402

import private_world  # noqa: E402
from engines import RealEngine, busybox_tar  # noqa: E402

OF_CONTAINERS = ("etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", ".dockerenv")
BUILDKIT = {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
OPTIONS = ("--storage-driver", "vfs", "--iptables=false", "--ip6tables=false")
# Case -> why it differs.
EXPLAINED = {
    "copy chown chmod": "BuildKit gives --chmod to directories that it makes, which cannot be entered then",
    "cache from a stage, owned": "BuildKit passes over owner and mode of a cache that begins with files",
}


def docker(address, *words, input=None, env=None, check=True):
    environment = {**os.environ, "DOCKER_HOST": address, **(env or {})}
    done = subprocess.run(["docker", *words], input=input, capture_output=True, env=environment)
    if check and done.returncode:
        raise RuntimeError(f"docker {' '.join(words)}: {done.stdout.decode()}{done.stderr.decode()}")
    return done


def context(directory, files):
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, tuple):
            path.symlink_to(content[0])
        elif isinstance(content, dict):
            with tarfile.open(path, "w:gz") as archive:
                for member, text in content.items():
                    info = tarfile.TarInfo(member)
                    info.size = len(text)
                    archive.addfile(info, io.BytesIO(text.encode()))
        else:
            path.write_text(content)
            path.chmod(0o755 if content.startswith("#!") else 0o644)


def facts(address, tag):
    """What is compared: configuration, history, files."""
    saved = io.BytesIO(docker(address, "save", tag).stdout)
    with tarfile.open(fileobj=saved) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))[0]
        config = json.load(archive.extractfile(manifest["Config"]))
    history = [{k: v for k, v in step.items() if k != "created"} for step in config["history"]]
    return {
        "config": {k: v for k, v in config["config"].items() if v},
        "about": {k: config.get(k) for k in ("architecture", "os", "variant", "author")},
        "history": history[1:],
        "layers": len(config["rootfs"]["diff_ids"]),
        "files": files(address, tag),
    }


def files(address, tag):
    name = docker(address, "create", "--network=none", tag, "x").stdout.decode().strip()
    exported = io.BytesIO(docker(address, "export", name).stdout)
    docker(address, "rm", name)
    found = {}
    with tarfile.open(fileobj=exported) as archive:
        for it in archive:
            path = it.name.strip("/")
            if path.split("/")[0] in ("dev", "proc", "sys") or path in OF_CONTAINERS:
                continue
            data = archive.extractfile(it).read() if it.isfile() else b""
            about = (it.type.decode(), oct(it.mode), it.uid, it.gid, it.linkname)
            found[path] = (*about, hashlib.sha256(data).hexdigest()[:8])
    return found


def differences(ours, theirs, path=""):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}):
            yield from differences(ours.get(key), theirs.get(key), f"{path}/{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(*pair, f"{path}[{number}]")
    elif ours != theirs:
        yield f"{path}: {ours!r} here, {theirs!r} there"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dockerd-root", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    private_world.enter()
    with tempfile.TemporaryDirectory(prefix="builds-") as place, contextlib.ExitStack() as stack:
        theirs = stack.enter_context(docker_engine(asked.dockerd_root, Path(place, "dockerd"), *OPTIONS))
        engine = RealEngine(Path(place, "onggi"))
        engine.directory.mkdir()
        engine.start()
        stack.callback(engine.destroy)
        plugins = Path(place, "config/cli-plugins")
        plugins.mkdir(parents=True)
        buildx = asked.dockerd_root / "usr/libexec/docker/cli-plugins/docker-buildx"
        (plugins / "docker-buildx").symlink_to(buildx)
        base = busybox_tar()
        for address in (engine.url, theirs):
            docker(address, "import", "-c", 'CMD ["sh"]', "-", "busybox:latest", input=base)
        sys.exit(compare(engine.url, theirs, Path(place), asked.only))


def compare(ours, theirs, place, only):
    bad = 0
    for number, (name, (flags, dockerfile, content)) in enumerate(CASES.items()):
        if only not in name:
            continue
        directory = place / f"context-{number}"
        directory.mkdir()
        context(directory, content)
        (directory / "Dockerfile").write_text(dockerfile)
        words = ["build", "-q", "-t", f"case{number}", *flags, str(directory)]
        buildkit = BUILDKIT | {"DOCKER_CONFIG": str(place / "config")}
        one = docker(ours, *words, env={"DOCKER_BUILDKIT": "0"}, check=False)
        two = docker(theirs, *words, env=buildkit, check=False)
        if one.returncode or two.returncode:
            same = bool(one.returncode) == bool(two.returncode)
            print(f"{'refused' if same else 'DIFFERS':9}  {name}")
            if not same:
                bad += 1
                print("   ours:", one.stderr.decode()[-400:], "\n   theirs:", two.stderr.decode()[-400:])
            continue
        found = list(differences(facts(ours, f"case{number}"), facts(theirs, f"case{number}")))
        why = EXPLAINED.get(name) if found else None
        bad += bool(found) and not why
        word = "explained" if why else "DIFFERS" if found else "same"
        print(f"{word:9}  {name}", *(f"\n    {it}" for it in ([why] if why else found)), flush=True)
    return bad


if __name__ == "__main__":
    main()
