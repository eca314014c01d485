"""Images under the names that suites would pull: busybox, and programs of this machine."""

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from conformance.foreign import Engine
from engines import busybox_tar

REAPER = Path(__file__).resolve().parents[1] / "api/reaper.py"
HELLO = b"#!/bin/sh\necho\necho Hello from Docker!\n"
PASSWD = b"""root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
sync:x:4:65534:sync:/bin:/bin/sync
nobody:x:65534:65534:nobody:/:/bin/false
postgres:x:70:70::/var/lib/postgresql:/bin/sh
"""
GROUP = b"root:x:0:\ndaemon:x:1:\nwheel:x:10:root\naudio:x:29:\nstaff:x:50:\n"
REGISTRY = b"""version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/registry}, delete: {enabled: true}}
http: {addr: ":5000"}
"""
NGINX = b"""user root;
error_log /dev/stderr notice;
events {}
http {
    access_log /dev/stdout;
    server { listen 80; root /usr/share/nginx/html; }
    include /etc/nginx/conf.d/*.conf;
}
"""
WELCOME = (
    b"<html><head><title>Welcome to nginx!</title></head><body><h1>Welcome to nginx!</h1></body></html>\n"
)
FILES = [
    ("hello", HELLO, 0o755),
    *((f"usr/bin/{name}", b"#!/bin/sh\n", 0o755) for name in ("apt-get", "pip")),  # there is no network
    ("etc/passwd", PASSWD, 0o644),
    ("etc/group", GROUP, 0o644),
    ("etc/docker/registry/config.yml", REGISTRY, 0o644),
    ("etc/nginx/nginx.conf", NGINX, 0o644),
    ("usr/share/nginx/html/index.html", WELCOME, 0o644),
    ("reaper.py", REAPER.read_bytes(), 0o644),
]
DIRECTORIES = (
    *("run", "usr/lib", "var/run", "var/opt", "var/lib/registry"),
    *("etc/nginx/conf.d", "var/lib/nginx", "var/log/nginx"),
)
PYTHON = "/usr/bin/python3"  # the machine's, whose modules have a place of their own
_LIBRARY = re.compile(r"(/\S+) \(0x")


class Kind(NamedTuple):
    """What an image can do: the programs in it beside busybox, and its configuration as of a Dockerfile."""

    programs: tuple[str, ...] = ()
    changes: tuple[str, ...] = ('CMD ["sh"]',)


KINDS = {
    "busybox": Kind(),
    "bash": Kind(("bash",)),
    "hello": Kind((), ('CMD ["/hello"]',)),
    "nginx": Kind(("nginx",), ('CMD ["nginx", "-g", "daemon off;"]', "EXPOSE 80")),
    "python": Kind(("bash", PYTHON), ('CMD ["python3"]',)),
    "ryuk": Kind((PYTHON,), ('CMD ["python3", "/reaper.py"]', "EXPOSE 8080")),
    "socat": Kind(("socat",), ('ENTRYPOINT ["socat"]', "CMD []")),
    "htpasswd": Kind(("htpasswd",)),
    "registry": Kind(
        ("docker-registry",),
        ('ENTRYPOINT ["docker-registry", "serve"]', 'CMD ["/etc/docker/registry/config.yml"]', "EXPOSE 5000"),
    ),
    "dind": Kind(
        (
            *(
                "dockerd",
                "containerd",
                "containerd-shim-runc-v2",
                "docker-init",
                "docker-proxy",
                "docker",
                "runc",
            ),
            *("iptables", "ip6tables"),
        ),
        ('CMD ["dockerd"]', "VOLUME /var/lib/docker"),
    ),
}


def make_images(engine: Engine, names: dict[str, tuple[str, ...]], path: str = os.environ["PATH"]) -> None:
    """Import a kind of image under each of its names. Programs are looked for in ``path``."""
    for kind, under in names.items():
        programs, changes = KINDS[kind]
        import_image(engine, root_with(programs, path), under, changes)


def import_image(engine: Engine, root: bytes, names: tuple[str, ...], changes: Iterable[str]) -> None:
    """With these names, also on the engine's mirror."""
    changes = ["ENV PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", *changes]
    options = [word for change in changes for word in ("-c", change)]
    engine.docker("import", *options, "-", names[0], input=root)
    for name in names[1:]:
        engine.docker("tag", names[0], name)
    for name in names if engine.mirror else ():
        there = f"{engine.mirror}/{name if '/' in name else f'library/{name}'}"
        engine.docker("tag", name, there)
        engine.docker("push", there)
        engine.docker("rmi", there)


@cache
def root_with(programs: tuple[str, ...], path: str) -> bytes:
    """busybox, small files of many images, and programs; what this machine has not is told, and left out."""
    found = {name: shutil.which(name, path=path) for name in programs}
    if lacking := [name for name, place in found.items() if not place]:
        print(f"not on this machine: {', '.join(lacking)}", file=sys.stderr)
    sources = {f"usr/bin/{Path(name).name}": Path(place).resolve() for name, place in found.items() if place}
    if "usr/bin/bash" in sources:
        sources["bin/bash"] = sources["usr/bin/bash"]
    if PYTHON in programs:
        python = Path(PYTHON).resolve()
        sources |= {"usr/bin/python": python, **modules(python)}
    if "iptables" in programs:
        extensions = Path("/usr/lib/x86_64-linux-gnu/xtables").glob("*.so")
        sources |= {str(extension)[1:]: extension for extension in extensions}
    return furnished({**sources, **libraries(sources.values())})


def furnished(sources: dict[str, Path]) -> bytes:
    """An archive of busybox's root with these and ``FILES``; no name is in it twice, which docker refuses."""
    buffer, own = io.BytesIO(), {name for name, _, _ in FILES}
    with (
        tarfile.open(fileobj=io.BytesIO(busybox_tar())) as busybox,
        tarfile.open(fileobj=buffer, mode="w") as archive,
    ):
        for entry in busybox:
            if entry.name not in own:
                archive.addfile(entry, busybox.extractfile(entry) if entry.isreg() else None)
        for name, data, mode in FILES:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
        for name in DIRECTORIES:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, source in sources.items():
            archive.add(source, name)
    return buffer.getvalue()


def modules(python: Path) -> dict[str, Path]:
    """The standard library: name in the image -> file."""
    home = Path("/usr/lib", python.name)
    unwanted = {"test", "__pycache__", "dist-packages", "idlelib", "lib2to3"}
    files = (file for file in home.rglob("*") if file.is_file() and not unwanted & {*file.parts})
    return {str(file)[1:]: file.resolve() for file in files}


def libraries(programs: Iterable[Path]) -> dict[str, Path]:
    """What the dynamic linker would load for these: name in the image -> file."""
    linked = [str(program) for program in programs if program.read_bytes()[:4] == b"\x7fELF"]
    told = subprocess.run(["ldd", *linked], capture_output=True, text=True).stdout  # 1 for a static one
    found = {}
    for place in map(Path, _LIBRARY.findall(told)):
        directory = "lib64" if place.name.startswith("ld-linux") else "lib/x86_64-linux-gnu"
        found[f"{directory}/{place.name}"] = place.resolve()
    return found
