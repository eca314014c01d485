"""Users and groups: what a request and a hostile /etc/passwd can make of a uid (rules R7, R8, R20)."""

import os

import pytest

from onggi.containers.users import resolve
from onggi.errors import InvalidArgument
from onggi.kernel.paths import open_root, read_file_in

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n"
GROUP = b"root:x:0:\nalice:x:1000:\naudio:x:29:alice,bob\nvideo:x:44:alice\nsecret:x:77:bob\n"


def test_cve_2016_3697_digits_are_an_id():
    """A line whose name is the number asked for does not make its user root."""
    hostile = b"1000:x:0:0:root:/root:/bin/sh\n"
    assert resolve("1000", hostile, GROUP, []).uid == 1000


def test_cve_2026_46680_a_name_of_digits_in_group_is_no_name():
    """GHSA-mjcv-p78q-w5fw and 47262: groups, too."""
    assert resolve("1000:5", PASSWD, b"5:x:0:\n", []).gid == 5
    assert resolve("0", b"0:x:4242:4242::/:/bin/sh\n", GROUP, []).uid == 0


@pytest.mark.parametrize("user", ["4294967296", "2147483648", "-1", "99999999999999999999", "0:4294967296"])
def test_cve_2024_40635_ids_do_not_wrap(user):
    with pytest.raises(InvalidArgument, match="must be in range"):
        resolve(user, PASSWD, GROUP, [])


@pytest.mark.parametrize("user", ["1 000", ":", "+5", "1000:0:0", "0x0", "٣", " 0", "nobody", "-0x1"])
def test_cve_2026_30892_what_is_not_understood_is_never_root(user):
    with pytest.raises(InvalidArgument):
        resolve(user, PASSWD, GROUP, [])


def test_cve_2026_30892_an_empty_group_is_the_users_own():
    assert resolve("1000:", PASSWD, GROUP, [])[:2] == (1000, 1000)


def test_cve_2022_36109_supplementary_groups_are_those_of_the_user():
    """CVE-2022-2989, 2022-2990, 2023-25173: the groups that the user has, no others, the primary one too."""
    assert resolve("alice", PASSWD, GROUP, []).groups == (1000, 29, 44)
    assert resolve("alice", PASSWD, GROUP, ["77"]).groups == (1000, 29, 44, 77)
    assert resolve("alice:video", PASSWD, GROUP, []).groups == (44,)
    assert resolve("4242", PASSWD, GROUP, []).groups == (0,)


@pytest.mark.parametrize("field", ["-1", "4294967296", "", "zero", "+0"])
def test_cve_2026_47262_a_malformed_line_matches_nobody(field):
    with pytest.raises(InvalidArgument, match="unable to find user eve"):
        resolve("eve", f"eve:x:{field}:0::/:/bin/sh\n".encode(), GROUP, [])


def make_fifo(path):
    os.mkfifo(path)


def make_link_out(path):
    path.symlink_to("/dev/zero")


def make_link_up(path):
    path.symlink_to("../../../../../../../../../../dev/zero")


def make_huge(path):
    with open(path, "wb") as file:
        file.truncate(200 << 20)


@pytest.mark.parametrize("make", [make_fifo, make_link_out, make_link_up, make_huge])
def test_cve_2024_9676_passwd_is_no_regular_small_file(tmp_path, make):
    """A FIFO, a link to an endless device, 200 MB (CVE-2026-46680): an error or no file, without a hang."""
    (tmp_path / "etc").mkdir()
    make(tmp_path / "etc/passwd")
    root = open_root(str(tmp_path))
    try:
        found = read_file_in(root, "/etc/passwd")
    except InvalidArgument:
        found = None
    finally:
        os.close(root)
    assert found is None


def test_cve_2014_9356_links_lead_nowhere_out_of_the_root(tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("secret")
    root_path = tmp_path / "root"
    root_path.mkdir()
    (root_path / "absolute").symlink_to(canary)
    (root_path / "up").symlink_to("../canary")
    (root_path / "magic").symlink_to("/proc/self/cwd")
    root = open_root(str(root_path))
    try:
        assert [read_file_in(root, name) for name in ("absolute", "up", "/../canary")] == [None, None, None]
    finally:
        os.close(root)
