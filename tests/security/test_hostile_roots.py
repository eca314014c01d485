"""Root file systems that lie about what they hold: links, traps, races (rules R1, R2, R4)."""

import contextlib
import json
import stat

import pytest

from engines import paths_below
from swapper import rounds, swapping

RACES = rounds(40)


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_cve_2015_1335_mount_points_are_no_links(onggi, rootfs, canary, name):
    """CVE-2019-18837, CVE-2023-27561, 2023-28642 (/proc, /sys); CVE-2026-41579, 2026-47766 (/dev)."""
    (rootfs / name).symlink_to(canary)
    onggi("run", "--rm", "--rootfs", str(rootfs), "/bin/true", status=None)


@pytest.mark.parametrize("name", ["proc", "dev"])
def test_cve_2023_27561_a_link_inside_the_root_is_refused(onggi, rootfs, name):
    (rootfs / "tmp" / name).mkdir()
    (rootfs / name).symlink_to(f"tmp/{name}")
    done = onggi("run", "--rm", "--rootfs", str(rootfs), "/bin/true", status=None)
    assert done.returncode != 0
    assert not list((rootfs / "tmp" / name).iterdir())


@pytest.mark.parametrize("name", ["hosts", "resolv.conf", "hostname"])
def test_cve_2025_24965_our_files_are_not_written_through_links(onggi, rootfs, canary, name):
    """CVE-2015-3627, CVE-2015-3629: what the engine puts into /etc never lands on the host."""
    (rootfs / "etc" / name).symlink_to(canary / "file")
    onggi("run", "--rm", "--rootfs", str(rootfs), "/bin/true", status=None)
    (rootfs / "etc" / name).unlink()
    (rootfs / "etc" / name).symlink_to(canary / "new")
    onggi("run", "--rm", "--rootfs", str(rootfs), "/bin/true", status=None)


def test_cve_2025_31133_null_is_ours(onggi, rootfs):
    """CVE-2025-62161, 2025-62596: masks are made of a null device that the root cannot replace."""
    (rootfs / "dev").mkdir()
    (rootfs / "dev/null").symlink_to("/proc/sysrq-trigger")
    script = "stat -c '%F %t:%T' /dev/null; cat /proc/kcore /proc/keys /proc/timer_list | head -c 1"
    shown = onggi("run", "--rm", "--rootfs", str(rootfs), "/bin/sh", "-c", script).stdout
    assert shown == "character special file 1:3\n"


@pytest.mark.swapper
def test_cve_2025_52881_procfs_is_procfs_under_a_race(onggi, rootfs, canary):
    """CVE-2019-19921: somebody swaps the mount point for a link while containers start."""
    (rootfs / "proc").mkdir()
    (rootfs / "swap").symlink_to(canary)
    kinds = set()
    with swapping(rootfs / "proc", rootfs / "swap"):
        for _ in range(RACES):
            words = ["--rootfs", str(rootfs), "/bin/stat", "-f", "-c", "%T", "/proc"]
            done = onggi("run", "--rm", *words, status=None)
            kinds.add(done.stdout.strip() if done.returncode == 0 else "")
    assert kinds <= {"", "proc"}


@pytest.mark.swapper
def test_cve_2021_30465_a_destination_cannot_be_swapped(onggi, rootfs, canary, tmp_path):
    """CVE-2024-45310: neither the mount nor the directories made for it leave the root."""
    (rootfs / "a").mkdir()
    (rootfs / "swap").symlink_to(canary)
    (tmp_path / "source").mkdir()
    with swapping(rootfs / "a", rootfs / "swap"):
        for number in range(RACES):
            bind = f"{tmp_path}/source:/a/made-{number}/deep"
            onggi("run", "--rm", "-v", bind, "--rootfs", str(rootfs), "/bin/true", status=None)
    assert not list((tmp_path / "source").iterdir())


def test_cve_2022_1227_top_runs_nothing_of_the_container(onggi, rootfs):
    for name in ("ps", "nsenter"):
        (rootfs / "bin" / name).write_text("#!/bin/sh\n: >/trapped\n")
        (rootfs / "bin" / name).chmod(0o755)
    with onggi.container("--rootfs", str(rootfs), "/bin/sleep", "1000000") as name:
        assert "sleep" in onggi("top", name).stdout
    assert not (rootfs / "trapped").exists()


def test_cve_2014_6408_an_image_has_no_say_in_security(onggi, engine):
    """CVE-2024-3154, CVE-2026-53488: labels and variables of an image are data."""
    changes = [
        "LABEL io.onggi.privileged=true com.docker.security=unconfined",
        "ENV ONGGI_PRIVILEGED=1 LD_PRELOAD=/x.so",
    ]
    options = [word for change in changes for word in ("-c", change)]
    tar = engine.directory / "hostile.tar"
    if not tar.exists():
        from engines import busybox_tar

        tar.write_bytes(busybox_tar())
    onggi("import", *options, str(tar), "hostile:latest")
    with onggi.container("hostile:latest", "sleep", "1000000") as name:
        found = json.loads(onggi("inspect", name).stdout)[0]["HostConfig"]
        plain = onggi("exec", name, "cat", "/proc/self/status").stdout
    assert (found["Privileged"], found["SecurityOpt"], found["CapAdd"]) == (False, None, None)
    assert "Seccomp:\t2" in plain


def test_cve_2024_25621_state_is_closed_to_others(onggi, engine):
    """CVE-2014-3499, CVE-2021-41091: started under umask 0, yet 0700 and 0600."""
    for root in (engine.data_root, engine.exec_root):
        assert stat.S_IMODE(root.stat().st_mode) & 0o077 == 0, root
    with onggi.container("busybox", "sleep", "1000000"):
        modes = {}
        for path in paths_below(engine.exec_root):
            with contextlib.suppress(FileNotFoundError):
                modes[path] = path.lstat().st_mode
    for kind in (stat.S_ISSOCK, stat.S_ISDIR):
        found = {path: mode for path, mode in modes.items() if kind(mode)}
        assert found
        assert not [path for path, mode in found.items() if stat.S_IMODE(mode) & 0o077]
