"""What the ``host`` image shows of the machine: pure rules over paths, modes and file contents.

Shown is what packages own. Inside that, a simple strong rule: what "others" may not read on the host is not
shown; besides it, things that are secret by their name, and files that contain a private key, a password or
an access token. Everything else is an empty directory.
"""

from __future__ import annotations

import re
import stat
from typing import Literal

Kind = Literal["whiteout", "opaque"]

# Trees that packages own. Ancestors of these are shown in part; everything beside them is hidden.
SHOWN = (
    "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/opt", "/etc", "/var/lib/dpkg",
    "/var/lib/apt", "/var/lib/rpm", "/var/lib/pacman", "/var/lib/apk", "/var/lib/alternatives",
    "/var/lib/pam", "/var/lib/ucf", "/var/lib/python",
)  # fmt: skip
# Links of the standard hierarchy that programs expect (bin -> usr/bin, var/run -> /run).
_LINKS = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/var/run", "/var/lock", "/var/mail"}
# Empty directories that programs of packages expect to find.
SKELETON = ("/var/cache/apt", "/var/cache/apt/archives", "/var/cache/apt/archives/partial", "/var/log/apt")
# Where every small file is read for secrets and every change is noticed at once.
EXACT = ("/etc", "/usr/local", "/opt")

_ETC = (
    "shadow", "shadow-", "gshadow", "gshadow-", "sudoers", "sudoers.d", "security/opasswd", ".pwd.lock",
    "ssl/private", "pki/tls/private", "ssh/keys", "krb5.keytab", "krb5kdc",
    "NetworkManager/system-connections", "wireguard", "openvpn", "ipsec.secrets", "ipsec.d/private",
    "swanctl/private", "ppp/chap-secrets", "ppp/pap-secrets", "letsencrypt", "acme", "machine-id",
    "hostid", "docker", "containers/auth.json", "kubernetes", "rancher", "cni", "credstore",
    "credstore.encrypted", "cryptsetup-keys.d", "luks", "apt/auth.conf", "apt/auth.conf.d",
    "wpa_supplicant", "netplan", "msmtprc", "exim4/passwd.client", "postfix/sasl_passwd",
    "postfix/sasl_passwd.db", "dovecot/private", "dovecot/users", "mysql/debian.cnf", "rsyncd.secrets",
    "samba/smbpasswd", "samba/private", "snmp/snmpd.conf", "iscsi", "onggi", "vault", "vault.d",
    "consul.d", "nomad.d", "puppetlabs/puppet/ssl", "salt/pki", "ceph", "tor/keys", "gitlab", "grafana",
    "cloud", "bacula", "restic", "borgmatic",
)  # fmt: skip
_SECRET_PATHS = frozenset(f"/etc/{name}" for name in _ETC)
_SECRET_NAMES = frozenset(
    (
        ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".netrc", "_netrc", ".pgpass",
        ".my.cnf", ".dockercfg", ".git-credentials", ".npmrc", ".pypirc", ".env", ".vault-token",
        ".htpasswd", ".smbcredentials", ".rediscli_auth", ".password-store", ".mylogin.cnf", ".s3cfg",
        ".boto", ".terraformrc", ".credentials", "credentials.json",
        "application_default_credentials.json", "id_rsa", "id_dsa", "id_ecdsa",
        "id_ed25519", "id_ecdsa_sk", "id_ed25519_sk", "secring.gpg",
    )
)  # fmt: skip
_SECRET_SUFFIXES = (".p12", ".pfx", ".kdbx", ".keytab", ".ovpn", ".ppk", "_history", ".htpasswd")
_HOST_KEY = re.compile(r"/ssh_host_[^/]*_key$")
# Below EXACT every small file is read; elsewhere those whose name says key.
_KEY_NAME = re.compile(
    r"\.(pem|key|priv|crt|cer)$|^[^.]*(private|secret|credential|key)[^.]*$", re.IGNORECASE
)
CONTENT_LIMIT = 128 << 10  # bytes: a key and its chain; larger files are programs and data
_SECRET_CONTENT = (
    re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY"),
    re.compile(rb"://[^/\s:@\"'<>{}$]+:[^/\s@\"'<>{}$]+@[a-z0-9]"),  # a password in a URL
    re.compile(rb":!?\$[0-9a-z]{1,8}\$[^:\s]+(:|$)", re.MULTILINE),  # shadow(5), htpasswd, their copies
    re.compile(rb"PrivateKey\s*=\s*[A-Za-z0-9+/]{43}="),  # WireGuard
    re.compile(rb"client-key-data:\s*\S"),  # Kubernetes
    re.compile(rb"aws_secret_access_key\s*=\s*\S"),
    re.compile(rb'"(refresh_token|auths)"\s*:'),  # gcloud, docker
)


def covers(parents: tuple[str, ...], path: str) -> bool:
    """Whether ``path`` is one of ``parents`` or lies below one."""
    return any(path == parent or path.startswith(parent.rstrip("/") + "/") for parent in parents)


def leads_to(path: str, targets: tuple[str, ...]) -> bool:
    """Whether one of ``targets`` lies below ``path``."""
    prefix = path.rstrip("/") + "/"
    return any(target.startswith(prefix) for target in targets)


def outside(path: str, mode: int) -> Kind | None:
    """How an entry beside the shown trees is hidden: directories are empty, the rest is not there; links of
    the FHS stay.
    """
    if stat.S_ISDIR(mode):
        return "opaque"
    return None if stat.S_ISLNK(mode) and path in _LINKS else "whiteout"


def directory(path: str, mode: int) -> Kind | None:
    """How a directory inside a shown tree is hidden, if it is: unreadable for others, or secret by name."""
    readable = mode & 0o005 == 0o005
    return None if readable and not _named(path) else "opaque"


def file(path: str, mode: int) -> Kind | None:
    """How any other entry inside a shown tree is hidden, as far as name and mode tell."""
    if stat.S_ISLNK(mode):
        return None
    if not stat.S_ISREG(mode) or not mode & 0o004 or _named(path):
        return "whiteout"
    return None


def asks_for_content(path: str, size: int) -> bool:
    """Whether a file is to be read before it is shown."""
    if not 0 < size <= CONTENT_LIMIT:
        return False
    return covers(EXACT, path) or _KEY_NAME.search(path.rpartition("/")[2]) is not None


def is_secret(content: bytes) -> bool:
    """Whether a file's content holds a private key, a password or its hash, or an access token."""
    return any(pattern.search(content) for pattern in _SECRET_CONTENT)


def _named(path: str) -> bool:
    name = path.rpartition("/")[2]
    if name in _SECRET_NAMES or name.endswith(_SECRET_SUFFIXES):
        return True
    return path in _SECRET_PATHS or _HOST_KEY.search(path) is not None


def always_hidden() -> list[str]:
    """Paths that are hidden even while they do not exist: a tool may create them while a container runs."""
    return [
        f"/etc/{name}"
        for name in ("shadow", "shadow-", "gshadow", "gshadow-", "sudoers", "krb5.keytab", "machine-id")
    ]
