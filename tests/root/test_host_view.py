"""The host view over a small machine of its own: secrets planted everywhere, real overlays, and a search
for them.
"""

import json
import os
import traceback

import pytest

from onggi.errors import InvalidArgument, NotFound, Unsupported
from onggi.kernel import mounts, syscalls
from onggi.runtime import masks as runtime_masks
from onggi.store import host
from onggi.store.host_scan import Scanner

CANARY = b"canary-7f3a91"
KEY = b"-----BEGIN PRIVATE KEY-----\n"
PLACES = [  # path, mode of the file, mode of its directory, what stands before the canary
    ("/etc/shadow", 0o640, 0o755, b""),
    ("/etc/shadow-", 0o644, 0o755, b""),
    ("/etc/gshadow", 0o644, 0o755, b""),
    ("/etc/sudoers", 0o440, 0o755, b""),
    ("/etc/sudoers.d/admin", 0o644, 0o755, b""),
    ("/etc/ssh/ssh_host_rsa_key", 0o644, 0o755, b""),
    ("/etc/ssl/private/server.pem", 0o644, 0o755, b""),
    ("/etc/ssl/certs/both.crt", 0o644, 0o755, KEY),
    ("/etc/app/tls.txt", 0o644, 0o755, KEY),
    ("/etc/app/settings", 0o600, 0o755, b""),
    ("/etc/closed/file", 0o644, 0o700, b""),
    ("/etc/NetworkManager/system-connections/wifi", 0o644, 0o755, b""),
    ("/etc/wireguard/wg0.conf", 0o644, 0o755, b""),
    ("/etc/krb5.keytab", 0o644, 0o755, b""),
    ("/etc/machine-id", 0o444, 0o755, b""),
    ("/etc/apt/sources.list", 0o644, 0o755, b"deb https://user:password@apt.example/ "),
    ("/etc/docker/daemon.json", 0o644, 0o755, b""),
    ("/usr/local/share/.netrc", 0o644, 0o755, b""),
    ("/usr/local/etc/token", 0o600, 0o755, b""),
    ("/usr/share/app/secret.key", 0o644, 0o755, KEY),
    ("/usr/lib/app/state", 0o640, 0o755, b""),
    ("/opt/app/.pgpass", 0o644, 0o755, b""),
    ("/opt/app/.ssh/config", 0o644, 0o755, b""),
    ("/root/file", 0o644, 0o755, b""),
    ("/home/user/.bashrc", 0o644, 0o755, b""),
    ("/srv/www/file", 0o644, 0o755, b""),
    ("/mnt/disk/file", 0o644, 0o755, b""),
    ("/media/usb/file", 0o644, 0o755, b""),
    ("/run/secrets/file", 0o644, 0o755, b""),
    ("/tmp/file", 0o644, 0o755, b""),
    ("/boot/grub.cfg", 0o644, 0o755, b""),
    ("/data/project/file", 0o644, 0o755, b""),
    ("/unknown/file", 0o644, 0o755, b""),
    ("/file-in-root", 0o644, 0o755, b""),
    ("/var/log/app.log", 0o644, 0o755, b""),
    ("/var/lib/app/data", 0o644, 0o755, b""),
    ("/var/lib/dpkg/hidden", 0o600, 0o755, b""),
    ("/var/backups/passwd", 0o644, 0o755, b""),
    ("/var/spool/cron/root", 0o644, 0o755, b""),
    ("/var/lib/onggi/meta.db", 0o644, 0o755, b""),
    ("/opt/engine/blobs/x", 0o644, 0o755, b""),
]
SHOWN = ["/etc/passwd", "/usr/bin/tool", "/opt/app/readme", "/var/lib/dpkg/status", "/etc/ssl/certs/ca.crt"]


def write(root, path, data, mode=0o644, directory_mode=0o755):
    full = root + path
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as file:
        file.write(data)
    os.chmod(full, mode)
    if directory_mode != 0o755:
        os.chmod(os.path.dirname(full), directory_mode)


def furnish(root):
    """A machine on a tmpfs, with /opt as a file system of its own and /proc mounted."""
    syscalls.mount("machine", root, "tmpfs", 0, "mode=755")
    for name in ("opt", "proc", "etc", "usr"):
        os.mkdir(f"{root}/{name}")
    os.symlink("usr/bin", f"{root}/bin")
    syscalls.mount("opt", f"{root}/opt", "tmpfs", 0, "mode=755")
    syscalls.mount("proc", f"{root}/proc", "proc", 0, "")
    for path, mode, directory_mode, before in PLACES:
        write(root, path, before + CANARY, mode, directory_mode)
    for path in SHOWN:
        write(root, path, b"harmless")
    os.chmod(f"{root}/tmp", 0o1777)


def mount_view(overlays, at):
    """Mount as the runtime does: masks on a tmpfs, a read-only base, the upper above, each at its target."""
    for number, overlay in enumerate(overlays):
        upper, work = f"/var/lib/onggi/u{number}", f"/var/lib/onggi/w{number}"
        for path in (upper, work):
            os.makedirs(path)
        lowers = list(overlay.lowers)
        opened = []
        if overlay.masks:
            opened.append(runtime_masks.build_layer(overlay.masks, lowers[-1]))
            lowers.insert(len(lowers) - 1, f"/proc/self/fd/{opened[-1]}")
        if overlay.nested:
            opened.append(mounts.overlay(lowers[-2:] if overlay.masks else lowers[-1:]))
            lowers = [*lowers[: -2 if overlay.masks else -1], f"/proc/self/fd/{opened[-1]}"]
        opened.append(mounts.overlay(lowers, upper, work))
        target = os.open(at + overlay.target, os.O_PATH | os.O_DIRECTORY)
        mounts.attach(opened[-1], target)
        for fd in (*opened, target):
            os.close(fd)


def search(root):
    """Paths below ``root`` that hold the canary, and all regular files seen."""
    found, seen = [], []
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not os.path.islink(path):
                seen.append(path.removeprefix(root))
                with open(path, "rb") as file:
                    if CANARY in file.read():
                        found.append(path.removeprefix(root))
    return found, seen


@pytest.fixture
def on_machine(tmp_path):
    """Run a function inside the small machine, in a child of its own; returns what it returns."""

    def run(function):
        read_fd, write_fd = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                syscalls.unshare(syscalls.CLONE_NEWNS)
                furnish(str(tmp_path))
                os.chroot(tmp_path)
                os.chdir("/")
                answer = {"result": function()}
            except BaseException:
                answer = {"error": traceback.format_exc()}
            with os.fdopen(write_fd, "w") as file:
                json.dump(answer, file)
            os._exit(0)
        os.close(write_fd)
        with os.fdopen(read_fd) as file:
            answer = json.load(file)
        os.waitpid(pid, 0)
        assert "error" not in answer, answer.get("error")
        return answer["result"]

    return run


def view(**more):
    return host.HostView(
        Scanner("/var/lib/onggi/masks.json"), ["/var/lib/onggi", "/run/onggi", "/opt/engine"], **more
    )


def view_mounted(show=()):
    overlays = view().overlays(show)
    os.mkdir("/mnt/view")
    mount_view(overlays, "/mnt/view")
    found, seen = search("/mnt/view")
    return {"found": found, "seen": seen, "targets": [it.target for it in overlays]}


def test_no_canary_is_seen(on_machine):
    def scenario():
        answer = view_mounted()
        answer["tmp"] = oct(os.stat("/mnt/view/tmp").st_mode)
        answer["empty"] = [
            name for name in ("proc", "root", "home", "run", "srv") if os.listdir(f"/mnt/view/{name}")
        ]
        return answer

    answer = on_machine(scenario)
    assert answer["found"] == []
    assert set(SHOWN) <= set(answer["seen"])
    assert answer["targets"] == ["/", "/opt"]
    assert answer["tmp"] == "0o41777"
    assert answer["empty"] == []
    assert len(PLACES) >= 30


def test_what_is_asked_for_is_shown_but_never_the_engine(on_machine):
    answer = on_machine(lambda: view_mounted(["/data/project", "/etc/ssl/private", "/opt", "/root"]))
    expected = {"/data/project/file", "/etc/ssl/private/server.pem", "/root/file"}
    expected |= {path for path, *_ in PLACES if path.startswith("/opt/app")}
    assert set(answer["found"]) == expected


def test_everything_asked_for_still_hides_the_engine(on_machine):
    answer = on_machine(lambda: view_mounted(["/"]))
    assert "/root/file" in answer["found"]
    assert "/etc/shadow" in answer["found"]
    assert not [
        path for path in answer["found"] if path.startswith(("/var/lib/onggi", "/opt/engine", "/run/onggi"))
    ]


def test_new_secrets_are_noticed_at_once(on_machine):
    def scenario():
        it = view()
        it.overlays()
        before = it.cached() is not None
        steps = []
        write("", "/etc/late", CANARY, 0o600)
        steps.append((it.cached() is None, hides(it, "/etc/late")))
        os.chmod("/etc/passwd", 0o600)
        steps.append((it.cached() is None, hides(it, "/etc/passwd")))
        write("", "/etc/new/deep/key", b"")
        it.overlays()
        write("", "/etc/new/deep/key", KEY)
        steps.append((it.cached() is None, hides(it, "/etc/new/deep/key")))
        os.mkdir("/appeared")
        steps.append((it.cached() is None, hides(it, "/appeared")))
        os.mkdir("/usr/other")
        syscalls.mount("x", "/usr/other", "tmpfs", 0, "")
        steps.append((it.cached() is None, "/usr/other" in [overlay.target for overlay in it.overlays()]))
        return [before, it.cached() is not None, *steps]

    assert on_machine(scenario) == [True, True, *[[True, True]] * 5]


def hides(it, path):
    return any(mask.path == path for mask in it.overlays()[0].masks)


def test_the_next_engine_reads_little(on_machine):
    def scenario():
        view().refresh()
        listed = []
        scan, host_entries = Scanner("/var/lib/onggi/masks.json"), []
        scan.load()
        original = os.scandir

        def scandir(path):
            listed.append(path)
            return original(path)

        os.scandir = scandir
        host_entries = [mask.path for mask in scan.scan()]
        os.scandir = original
        return listed, host_entries

    listed, masks = on_machine(scenario)
    assert listed
    assert all(path.startswith(("/etc", "/usr/local", "/opt")) for path in listed)
    assert {"/usr/share/app/secret.key", "/usr/lib/app/state"} <= set(masks)


@pytest.mark.parametrize(
    ("path", "category"),
    [
        ("relative", InvalidArgument),
        ("/proc", InvalidArgument),
        ("/sys/x", InvalidArgument),
        ("/absent", NotFound),
        ("/data/project/file", Unsupported),
    ],
)
def test_what_cannot_be_shown(on_machine, path, category):
    def scenario():
        try:
            view().overlays([path])
        except category as error:
            return path in str(error)
        return None

    assert on_machine(scenario) is True


def test_what_another_process_watches_is_noticed(tmp_path):
    """The walk's own process, which a machine with Python has, places the watches."""
    syscalls.mount("opt", "/opt", "tmpfs", 0, "mode=755")
    try:
        scanner = Scanner(str(tmp_path / "masks.json"), ("/opt",))
        os.mkdir("/opt/app")
        scanner.whole()
        assert not scanner._watched  # by this process
        assert not scanner.dirty()
        write("", "/opt/app/late", CANARY, 0o600)
        assert scanner.dirty()
        assert any(mask.path == "/opt/app/late" for mask in scanner.whole())
        scanner.close()
    finally:
        syscalls.umount("/opt", 0)
