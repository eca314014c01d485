"""Users and groups, named by the CVEs they guard against."""

import pytest

from onggi.containers.users import resolve
from onggi.errors import InvalidArgument

PASSWD = (
    b"root:x:0:0:root:/root:/bin/sh\n1000:x:0:0::/root:\n"
    b"app:x:1000:1001::/home/app:\nbad line\nbig:x:4294967296:0::/:\n"
)
GROUP = b"root:x:0:\nwheel:x:10:root,app\nstaff:x:50:\n1001:x:0:\n"


def test_default_is_root_with_its_groups():
    assert resolve("", PASSWD, GROUP, []) == (0, 0, (0, 10), "/root")


def test_a_group_alone_is_roots_and_the_only_one():
    assert resolve(":50", PASSWD, GROUP, []) == (0, 50, (50,), "/root")
    assert resolve(":staff", PASSWD, GROUP, ["wheel"]) == (0, 50, (50, 10), "/root")
    assert resolve(":4242", b"", b"", []) == (0, 4242, (4242,), "/")


def test_name_brings_gid_groups_and_home():
    assert resolve("app", PASSWD, GROUP, []) == (1000, 1001, (1001, 10), "/home/app")


def test_cve_2016_3697_digits_are_never_a_name():
    assert resolve("1000", PASSWD, GROUP, [])[:2] == (1000, 1001)
    assert resolve("app:1001", PASSWD, GROUP, []).gid == 1001


@pytest.mark.parametrize("user", ["4294967296", "2147483648", "-1", "99999999999999999999"])
def test_cve_2024_40635_ids_do_not_wrap(user):
    with pytest.raises(InvalidArgument, match="uids and gids must be in range 0-2147483647"):
        resolve(user, PASSWD, GROUP, [])


@pytest.mark.parametrize("user", ["1 000", ":", "+5", ":x:", "1000:0:0", "0x0", "\u0661", "bad line", "big"])
def test_cve_2026_30892_a_parse_error_is_not_root(user):
    with pytest.raises(InvalidArgument, match="no matching entries"):
        resolve(user, PASSWD, GROUP, [])


def test_unknown_names_have_dockers_words():
    with pytest.raises(InvalidArgument, match="unable to find user x: no matching entries in passwd file"):
        resolve("x", PASSWD, GROUP, [])
    with pytest.raises(InvalidArgument, match="unable to find group x: no matching entries in group file"):
        resolve("app:x", PASSWD, GROUP, [])
    with pytest.raises(InvalidArgument, match="unable to find group staff:more: no matching entries"):
        resolve("app:staff:more", PASSWD, GROUP, [])


def test_cve_2022_36109_groups_are_exactly_those_asked_for():
    assert resolve("app:staff", PASSWD, GROUP, ["wheel", "7"]) == (1000, 50, (50, 10, 7), "/home/app")
    assert resolve("77", PASSWD, GROUP, []) == (77, 0, (0,), "/")


def test_cve_2026_46680_long_lines_and_files_are_bounded():
    hostile = b"x" * 10_000_000 + b":x:0:0::/:\n" + PASSWD
    assert resolve("app", hostile, GROUP, []).uid == 1000
