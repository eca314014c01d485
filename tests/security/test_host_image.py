"""The `host` image through a real engine: a machine full of secrets, and a container that looks for them.

The machine is one that the test makes: its root is entered by pivot_root(2) in a mount namespace of its own,
so that nothing is ever planted on the real one. Every planted file holds the canary. The container searches
as root: its whole tree, /proc/*/root, cwd, fd and environ, hard links, file handles, device nodes.
"""

import base64
import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from engines import DEADLINE_S, ONGGI, ROOT, RealEngine
from onggi.kernel import syscalls

CANARY = "canary-59c1e7"
KEY = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}\n"
HASH = f"root:$y$j9T$abcdefgh$0123456789:19000:0:99999:7:::\n# {CANARY}\n"
WORLD, OWNER = 0o644, 0o600
PLACES = {  # path: (mode, content); readable by all where the place alone must be reason enough
    "/etc/shadow": (0o640, HASH),
    "/etc/shadow-": (WORLD, HASH),
    "/etc/gshadow": (WORLD, CANARY),
    "/etc/gshadow-": (WORLD, CANARY),
    "/etc/shadow.bak": (WORLD, HASH),
    "/etc/backup/shadow.2024": (WORLD, HASH),
    "/etc/security/opasswd": (WORLD, CANARY),
    "/etc/sudoers": (WORLD, CANARY),
    "/etc/sudoers.d/admins": (WORLD, CANARY),
    "/etc/ssh/ssh_host_ed25519_key": (WORLD, KEY),
    "/etc/ssh/ssh_host_rsa_key.bak": (WORLD, KEY),
    "/etc/ssl/private/server.der": (WORLD, CANARY),
    "/etc/ssl/certs/both.crt": (WORLD, KEY),
    "/etc/pki/tls/private/server.key": (WORLD, CANARY),
    "/etc/letsencrypt/live/example/privkey.pem": (WORLD, CANARY),
    "/etc/nginx/conf.d/tls": (WORLD, KEY),
    "/etc/docker/key.json": (WORLD, CANARY),
    "/etc/containers/auth.json": (WORLD, CANARY),
    "/etc/kubernetes/admin.conf": (WORLD, CANARY),
    "/etc/rancher/k3s/k3s.yaml": (WORLD, CANARY),
    "/etc/NetworkManager/system-connections/wifi": (WORLD, CANARY),
    "/etc/wireguard/wg0.conf": (WORLD, CANARY),
    "/etc/openvpn/client/auth": (WORLD, CANARY),
    "/etc/ipsec.secrets": (WORLD, CANARY),
    "/etc/ppp/chap-secrets": (WORLD, CANARY),
    "/etc/krb5.keytab": (WORLD, CANARY),
    "/etc/apt/auth.conf.d/private": (WORLD, CANARY),
    "/etc/apt/sources.list.d/private.list": (WORLD, f"deb https://user:{CANARY}@apt.example/ stable main\n"),
    "/etc/app/only-root": (OWNER, CANARY),
    "/etc/app/group-only": (0o640, CANARY),
    "/etc/machine-id": (WORLD, CANARY),
    "/etc/cloud/cloud.cfg.d/user-data": (WORLD, CANARY),
    "/etc/fstab-credentials/.smbcredentials": (WORLD, CANARY),
    "/usr/local/etc/key": (WORLD, KEY),
    "/usr/local/etc/wg.conf": (WORLD, f"[Interface]\nPrivateKey = {'A' * 43}=\n# {CANARY}\n"),
    "/usr/local/share/only-root": (OWNER, CANARY),
    "/opt/app/nobody": (0o000, CANARY),
    "/opt/app/.netrc": (WORLD, CANARY),
    "/opt/app/.pgpass": (WORLD, CANARY),
    "/opt/app/.aws/credentials": (WORLD, CANARY),
    "/opt/app/aws.cfg": (WORLD, f"[default]\naws_secret_access_key = {CANARY}\n"),
    "/opt/app/.config/gcloud/application_default_credentials.json": (WORLD, CANARY),
    "/opt/app/.kube/config": (WORLD, CANARY),
    "/opt/app/kubeconfig": (WORLD, f"users:\n- user:\n    client-key-data: {CANARY}\n"),
    "/opt/app/.docker/config.json": (WORLD, CANARY),
    "/opt/app/.git-credentials": (WORLD, CANARY),
    "/opt/app/.env": (WORLD, CANARY),
    "/opt/app/.bash_history": (WORLD, CANARY),
    "/opt/x/id_rsa": (WORLD, CANARY),
    "/opt/x/only-root": (OWNER, CANARY),
    "/root/.bashrc": (WORLD, CANARY),
    "/home/user/notes": (WORLD, CANARY),
    "/srv/www/index.html": (WORLD, CANARY),
    "/mnt/disk/file": (WORLD, CANARY),
    "/media/usb/file": (WORLD, CANARY),
    "/run/secrets/token": (WORLD, CANARY),
    "/run/user/1000/bus-secret": (WORLD, CANARY),
    "/tmp/file": (WORLD, CANARY),
    "/boot/grub/grub.cfg": (WORLD, CANARY),
    "/data/project/file": (WORLD, CANARY),
    "/file-in-root": (WORLD, CANARY),
    "/var/mail/root": (WORLD, CANARY),
    "/var/spool/cron/crontabs/root": (WORLD, CANARY),
    "/var/log/auth.log": (WORLD, CANARY),
    "/var/tmp/file": (WORLD, CANARY),
    "/var/cache/app/file": (WORLD, CANARY),
    "/var/lib/mysql/db": (WORLD, CANARY),
    "/var/lib/docker/containers/file": (WORLD, CANARY),
    "/var/lib/kubelet/pki/kubelet.key": (WORLD, CANARY),
    "/var/lib/onggi-test/data/planted": (WORLD, CANARY),
    "/var/lib/onggi-test/run/planted": (WORLD, CANARY),
    "/var/www/html/config": (WORLD, CANARY),
}
SHOWN = ["/etc/passwd", "/opt/app/readme", "/opt/x/readme", "/usr/local/bin/tool"]
ENGINE = "/var/lib/onggi-test"
OTHERS = ["/usr/local", "/opt/x", "/home/user"]  # file systems of their own
COPIED = ["passwd", "group", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "nsswitch.conf", "alternatives"]

SEARCH = """
import base64, ctypes, glob, json, os, stat, sys
canary, places, handles, since = json.loads(base64.b64decode(sys.argv[1]))
libc = ctypes.CDLL(None, use_errno=True)
found, seen = set(), 0

def look(path, name=None):
    try:
        with open(path, "rb", buffering=0) as file:
            if canary.encode() in file.read(1 << 16):
                found.add(name or path)
    except OSError:
        pass

for directory, names, files in os.walk("/"):
    if directory == "/":
        names[:] = [name for name in names if name not in ("proc", "sys")]
    for name in files:
        path = os.path.join(directory, name)
        try:
            status = os.lstat(path)
        except OSError:  # the machine goes on meanwhile
            continue
        seen += 1
        if stat.S_ISREG(status.st_mode) and status.st_size < 65536 and status.st_ctime >= since:
            look(path)
for prefix in [*glob.glob("/proc/*/root"), *glob.glob("/proc/*/cwd")]:
    for place in places:
        look(prefix + place)
        look(prefix + "/../../../../../.." + place)
for pattern in ("fd/*", "environ", "cmdline", "map_files/*", "mountinfo"):
    for path in glob.glob("/proc/[0-9]*/" + pattern):
        if os.path.isfile(path) and path.split("/")[2] != str(os.getpid()):
            look(path)
for number, place in enumerate(places):
    try:
        os.link(place, f"/tmp/link-{number}")
        look(f"/tmp/link-{number}", "link " + place)
    except OSError:
        pass
opened = 0
for source in ("/", "/etc/hosts", "/etc/resolv.conf", "/dev/shm", "/opt/x"):
    at = os.open(source, os.O_RDONLY)
    for kind, data in handles:
        raw = bytes.fromhex(data)
        head = len(raw).to_bytes(4, "little") + kind.to_bytes(4, "little")
        handle = ctypes.create_string_buffer(head + raw)
        opened += libc.syscall(304, at, handle, os.O_RDONLY) >= 0
devices = []
lines = open("/proc/partitions").read().split("\\n")[2:]
wanted = [(stat.S_IFBLK, *map(int, line.split()[:2])) for line in lines if line.split()]
wanted += [(stat.S_IFBLK, 7, 0), (stat.S_IFCHR, 1, 1), (stat.S_IFCHR, 1, 4), (stat.S_IFCHR, 1, 11)]
for number, (kind, major, minor) in enumerate(wanted):
    try:
        os.mknod(f"/tmp/node-{number}", kind | 0o600, os.makedev(major, minor))
        os.close(os.open(f"/tmp/node-{number}", os.O_RDONLY | os.O_NONBLOCK))
        devices.append([major, minor])
    except OSError:
        pass
print(json.dumps({"found": sorted(found), "seen": seen, "handles": opened, "devices": devices}))
"""
EVERYTHING = [
    ["run", "--rm", "host"],
    ["run", "--rm", "--cap-add=ALL", "--security-opt=seccomp=unconfined", "host"],
    ["exec", "--privileged"],
]


def write(root: str, path: str, mode: int, text: str) -> None:
    full = Path(root + path)
    full.parent.mkdir(parents=True, exist_ok=True)
    full.write_text(text)
    full.chmod(mode)


def bind(path: str, root: str) -> None:
    """The real machine's directory, read-only, at the same place."""
    os.makedirs(root + path, exist_ok=True)
    syscalls.mount(path, root + path, "", syscalls.MS_BIND | syscalls.MS_REC)
    syscalls.mount("none", root + path, "", syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY)


def one_file_system(root: str) -> None:
    """A tmpfs with /etc, /opt, /var and the engine's files on it; /usr beside."""
    syscalls.mount("machine", root, "tmpfs", 0, "mode=755")
    bind("/usr", root)
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
    for name in COPIED:
        source = Path("/etc") / name
        if source.is_dir():
            shutil.copytree(source, f"{root}/etc/{name}", symlinks=True)
        elif source.exists():
            os.makedirs(f"{root}/etc", exist_ok=True)
            shutil.copy(source, f"{root}/etc/{name}")


def over_the_real_one(root: str) -> None:
    """An overlay whose lower layer is the real machine: all its files are there, none is changed."""
    changes = f"{root}-changes"
    os.mkdir(changes)
    syscalls.mount("changes", changes, "tmpfs", 0, "mode=755")
    for name in ("upper", "work"):
        os.mkdir(f"{changes}/{name}")
    syscalls.mount(
        "machine", root, "overlay", 0, f"lowerdir=/,upperdir={changes}/upper,workdir={changes}/work"
    )


def furnish(root: str) -> None:
    """Kernel file systems, what Python needs, other file systems, and the secrets."""
    for name in ("proc", "sys", "dev"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
        syscalls.mount(f"/{name}", f"{root}/{name}", "", syscalls.MS_BIND | syscalls.MS_REC)
    for path in (*OTHERS, ENGINE, "/tmp"):
        os.makedirs(root + path, exist_ok=True)
        syscalls.mount("other", root + path, "tmpfs", 0, "mode=755")
    for path in {sys.prefix, sys.base_prefix, str(ROOT)} - {"/usr", "/usr/local"}:
        bind(path, root)
    if sys.base_prefix == "/usr/local":
        bind("/usr/local", root)
    for path, (mode, text) in PLACES.items():
        write(root, path, mode, text)
    for path in SHOWN[1:]:
        write(root, path, WORLD, "harmless")


def enter(root: str) -> None:
    os.makedirs(f"{root}/mnt/old", exist_ok=True)
    syscalls.pivot_root(root, f"{root}/mnt/old")
    os.chdir("/")
    syscalls.umount("/mnt/old", 2)  # MNT_DETACH
    os.rmdir("/mnt/old")


def handles() -> list[tuple[int, str]]:
    """File handles (name_to_handle_at(2)) of what was planted: type and bytes."""
    libc, found = ctypes.CDLL(None, use_errno=True), []
    for path in PLACES:
        buffer = ctypes.create_string_buffer((128).to_bytes(4, "little"), 136)
        if libc.name_to_handle_at(-100, path.encode(), buffer, ctypes.byref(ctypes.c_int()), 0) == 0:
            size, kind = (int.from_bytes(buffer.raw[at : at + 4], "little") for at in (0, 4))
            found.append((kind, buffer.raw[8 : 8 + size].hex()))
    return found


def search(since: float) -> dict[str, object]:
    """Start an engine on the machine and search in containers of all kinds."""
    question = base64.b64encode(json.dumps([CANARY, list(PLACES), handles(), since]).encode()).decode()
    program = ["/usr/bin/python3", "-I", "-c", SEARCH, question]
    engine = RealEngine(Path(ENGINE))
    os.environ["SECRET_OF_THE_CALLER"] = CANARY
    environment = engine.environment | {"SECRET_OF_THE_CALLER": CANARY}

    def onggi(*words: str) -> str:
        done = subprocess.run(
            [*ONGGI, *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE_S,
        )
        assert done.returncode == 0, (words[:5], done.stderr, engine.log())
        return done.stdout

    try:
        engine.start()
        name = onggi("run", "-d", "host", "sleep", "1000000").strip()
        answers = {}
        for words in EVERYTHING:
            place = [name] if words[0] == "exec" else []
            answers[" ".join(words)] = json.loads(onggi(*words, *place, *program))
        shown = onggi("exec", name, "ls", *SHOWN).split()
        onggi("rm", "-f", name)
        return {"answers": answers, "shown": shown, "handles": len(handles())}
    finally:
        engine.destroy()


@pytest.fixture
def on_machine(tmp_path):
    """Run ``search`` in a child that lives on a machine made by ``build``."""

    def run(build):
        read_fd, write_fd = os.pipe()
        root = str(tmp_path / "machine")
        os.mkdir(root)
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException), os.fdopen(write_fd, "w") as file:
                try:
                    syscalls.unshare(syscalls.CLONE_NEWNS)
                    before = os.stat(root).st_ctime
                    build(root)
                    furnish(root)
                    enter(root)
                    answer = {"result": search(before)}
                except BaseException:
                    answer = {"error": traceback.format_exc()}
                json.dump(answer, file)
            os._exit(0)
        os.close(write_fd)
        with os.fdopen(read_fd) as file:
            answer = json.load(file)
        os.waitpid(pid, 0)
        assert "error" not in answer, answer.get("error")
        return answer["result"]

    return run


@pytest.mark.parametrize("build", [one_file_system, over_the_real_one])
def test_the_host_image_shows_no_secret(on_machine, build):
    """Shocker, too: file handles of the host open nothing, and no device node of it does."""
    result = on_machine(build)
    assert result["shown"] == SHOWN
    assert result["handles"] >= (30 if build is one_file_system else 5)  # an overlay gives out none
    for words, answer in result["answers"].items():
        assert not answer["found"], (words, answer["found"])
        assert answer["seen"] > 1000, words
        assert answer["devices"] == [], words
    for words in ("run --rm host", "exec --privileged"):  # DAC_READ_SEARCH is the right to open handles
        assert result["answers"][words]["handles"] == 0
