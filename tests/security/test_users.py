"""Users by run and by exec, in root file systems whose passwd and group lie (rules R7, R8)."""

import os

import pytest

LIES = "1000:x:0:0:::\n0x3e8:x:0:0:::\neve:x:4294967296:0:::\nuser:x:7:7:::\n"
WHO = ["/bin/stat", "-L", "-c", "%u", "/proc/self"]


@pytest.fixture
def lying(rootfs):
    (rootfs / "bin/id").symlink_to("busybox")
    (rootfs / "etc/passwd").write_text(LIES)
    (rootfs / "etc/group").write_text("1000:x:0:\n5:x:0:\nuser:x:7:\n")
    return rootfs


GOOD = [
    ("1000", "1000 0"), ("1000:5", "1000 5"), ("user", "7 7"), ("4242:4243", "4242 4243"), (":5", "0 5"),
    (":user", "0 7"),
]  # fmt: skip


@pytest.mark.parametrize(("user", "ids"), GOOD)
def test_cve_2016_3697_digits_are_an_id(onggi, lying, user, ids):
    """CVE-2026-46680, CVE-2026-47262: by run and by exec."""
    look = ["/bin/sh", "-c", "echo $(id -u) $(id -g)"]
    words = ["--rootfs", str(lying)]
    assert onggi("run", "--rm", "--user", user, *words, *look).stdout.strip() == ids
    with onggi.container(*words, "/bin/sleep", "1000000") as name:
        assert onggi("exec", "--user", user, name, *look).stdout.strip() == ids


BAD = [
    "4294967296", "2147483648", "-1", "99999999999999999999", "0:4294967296", "1000:-1", "1 000", ":", "+5",
    "eve", "0x0", "nobody", " 0", "\u0663",
]  # fmt: skip


def test_cve_2024_40635_what_is_no_user_is_never_root(onggi, lying):
    """CVE-2026-30892: numbers that wrap, and words that no parser understands; by run and by exec."""
    words = ["--rootfs", str(lying)]
    with onggi.container(*words, "/bin/sleep", "1000000") as name:
        for user in BAD:
            for entry in (["run", "--rm", f"--user={user}", *words], ["exec", f"--user={user}", name]):
                done = onggi(*entry, *WHO, status=None)
                assert (done.returncode != 0, done.stdout != "0\n") == (True, True), (entry, done)


def link(target: str):
    return lambda path: path.symlink_to(target)


NASTY = {
    "fifo": os.mkfifo,
    "zero": link("/dev/zero"),
    "up": link("../../../../../../dev/zero"),
    "environ": link("/proc/self/environ"),
    "loop": link("passwd"),
    "directory": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("make", NASTY.values(), ids=list(NASTY))
def test_cve_2024_9676_passwd_is_no_file(onggi, rootfs, make):
    """By run and by exec: an error or no such user, at once."""
    for name in ("passwd", "group"):
        make(rootfs / "etc" / name)
    words = ["--rootfs", str(rootfs)]
    for user in ("user", "1000", "0:staff"):
        done = onggi("run", "--rm", "--user", user, *words, *WHO, status=None)
        assert done.returncode != 0 or done.stdout == "1000\n", (user, done)
    for name in ("passwd", "group"):
        path = rootfs / "etc" / name
        path.rename(path.with_suffix(".nasty"))
    with onggi.container(*words, "/bin/sleep", "1000000") as container:
        for name in ("passwd", "group"):
            path = rootfs / "etc" / name
            path.with_suffix(".nasty").rename(path)
        for user in ("user", "1000", "0:staff"):
            done = onggi("exec", "--user", user, container, *WHO, status=None)
            assert done.returncode != 0 or done.stdout == "1000\n", (user, done)
