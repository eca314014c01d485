import stat

import pytest

from onggi.store import host_rules

REGULAR, DIRECTORY, LINK = stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK

HIDDEN_FILES = [
    ("/etc/shadow", 0o644),
    ("/etc/shadow-", 0o644),
    ("/etc/gshadow", 0o644),
    ("/etc/ssh/ssh_host_ed25519_key", 0o644),
    ("/etc/sudoers", 0o444),
    ("/etc/krb5.keytab", 0o644),
    ("/etc/machine-id", 0o444),
    ("/etc/ppp/chap-secrets", 0o644),
    ("/etc/apt/auth.conf", 0o644),
    ("/etc/anything", 0o600),
    ("/usr/local/etc/app.conf", 0o640),
    ("/opt/app/.env", 0o644),
    ("/opt/app/.netrc", 0o644),
    ("/opt/app/.pgpass", 0o644),
    ("/opt/app/id_rsa", 0o644),
    ("/opt/app/client.p12", 0o644),
    ("/usr/share/x/vpn.ovpn", 0o644),
]
SHOWN_FILES = [("/etc/passwd", 0o644), ("/usr/bin/sudo", 0o4755), ("/etc/ssh/ssh_host_rsa_key.pub", 0o644)]


@pytest.mark.parametrize(("path", "mode"), HIDDEN_FILES)
def test_secret_files_are_hidden(path, mode):
    assert host_rules.file(path, REGULAR | mode) == "whiteout"


@pytest.mark.parametrize(("path", "mode"), SHOWN_FILES)
def test_ordinary_files_are_shown(path, mode):
    assert host_rules.file(path, REGULAR | mode) is None


@pytest.mark.parametrize("kind", [stat.S_IFSOCK, stat.S_IFBLK, stat.S_IFCHR, stat.S_IFIFO])
def test_only_regular_files_are_shown(kind):
    assert host_rules.file("/usr/lib/x", kind | 0o666) == "whiteout"


@pytest.mark.parametrize(
    ("path", "mode", "kind"),
    [
        ("/etc/ssl/private", 0o755, "opaque"),
        ("/etc/wireguard", 0o755, "opaque"),
        ("/etc/secrets", 0o700, "opaque"),
        ("/etc/half", 0o711, "opaque"),
        ("/opt/app/.ssh", 0o755, "opaque"),
        ("/etc/ssl", 0o755, None),
    ],
)
def test_directories(path, mode, kind):
    assert host_rules.directory(path, DIRECTORY | mode) == kind


@pytest.mark.parametrize(
    ("path", "mode", "kind"),
    [
        ("/root", DIRECTORY | 0o755, "opaque"),
        ("/data", DIRECTORY | 0o755, "opaque"),
        ("/vmlinuz", LINK | 0o777, "whiteout"),
        ("/bin", LINK | 0o777, None),
        ("/var/run", LINK | 0o777, None),
        ("/swapfile", REGULAR | 0o600, "whiteout"),
    ],
)
def test_beside_the_shown_trees_nothing_is_left(path, mode, kind):
    assert host_rules.outside(path, mode) == kind


@pytest.mark.parametrize(
    ("path", "size", "read"),
    [
        ("/etc/anything", 100, True),
        ("/usr/local/x/y.txt", 100, True),
        ("/usr/share/x/server.pem", 100, True),
        ("/usr/share/x/privatekey", 100, True),
        ("/usr/lib/python3/keyword.py", 100, False),
        ("/etc/huge", 1 << 30, False),
        ("/etc/empty", 0, False),
    ],
)
def test_which_files_are_read(path, size, read):
    assert host_rules.asks_for_content(path, size) is read


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"x\n-----BEGIN PRIVATE KEY-----\nMII", True),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----", True),
        (b"-----BEGIN PUBLIC KEY-----", False),
        (b"deb https://user:s3cret@apt.example/ x main", True),
        (b"deb https://apt.example/ x main", False),
        (b"proxy=http://$USER:$PASS@proxy", False),
    ],
)
def test_content(content, secret):
    assert host_rules.is_secret(content) is secret
