"""What this machine knows about getting packages, read at run time and copied into a clean root.

Nothing of it is ever written into the repository: package sources, pip's configuration and variables, the CA
bundle, name resolution. A directory that pip's configuration names is bound read-only, not copied.
"""

import os
import re
import shutil
from pathlib import Path

CA_VARIABLES = ["PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
# A place of its own: installing packages rewrites /etc/ssl/certs.
CA_BUNDLE = "/etc/machine-ca.crt"
PROXY_VARIABLES = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"]
PIP_FILES = ["/etc/pip.conf", "~/.config/pip/pip.conf", "~/.pip/pip.conf"]
NETWORK_FILES = ["/etc/resolv.conf", "/etc/hosts"]


def release() -> str:
    """Code name of the machine's own distribution."""
    words = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    return words.get("VERSION_CODENAME", "").strip('"')


def apt_sources(suite: str) -> str:
    """The machine's Debian sources as deb822 or one-line text for another suite; empty if it has none."""
    files = [*Path("/etc/apt").glob("sources.list"), *Path("/etc/apt/sources.list.d").glob("*.sources")]
    texts = [path.read_text() for path in files]
    return "\n".join(for_suite(text, suite) for text in texts if "/debian" in text)


def for_suite(text: str, suite: str) -> str:
    return re.sub(rf"\b{re.escape(release())}\b", suite, text) if release() else text


def pip_settings() -> list[Path]:
    return [path for name in PIP_FILES if (path := Path(name).expanduser()).is_file()]


def pip_directories() -> list[str]:
    """Local indexes and wheel directories that pip's configuration or variables name."""
    words = [path.read_text() for path in pip_settings()]
    words += [value for name, value in os.environ.items() if name.startswith("PIP_")]
    named = {Path(match) for match in re.findall(r"(?:(?<=file://)|(?<![\w:/]))/[^\s,]+", "\n".join(words))}
    # The pages of an index in the usual layout point to files beside it.
    whole = {path.parent if path.name == "simple" else path for path in named}
    return sorted(str(path) for path in whole if path.is_dir() and path != Path("/"))


def ca_bundle() -> Path | None:
    named = [os.environ.get(name, "") for name in CA_VARIABLES]
    for name in [*named, "/etc/ssl/certs/ca-certificates.crt"]:
        if name and Path(name).is_file():
            return Path(name)
    return None


def environment() -> dict[str, str]:
    """The variables of a login in the clean root, with the machine's package settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("PIP_") or name in PROXY_VARIABLES
    }
    kept |= {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    kept |= {"TERM": "dumb", "LANG": "C.UTF-8", "CI": "true"}
    return kept | (dict.fromkeys(CA_VARIABLES, CA_BUNDLE) if ca_bundle() else {})


def copy_settings(root: Path, suite: str) -> None:
    """Give the root file system at `root` everything above but the directories."""
    shutil.copytree("/etc/apt", root / "etc/apt", dirs_exist_ok=True)
    for path in [
        *(root / "etc/apt").glob("sources.list"),
        *(root / "etc/apt/sources.list.d").glob("*.sources"),
    ]:
        path.write_text(for_suite(path.read_text(), suite))
    for path in pip_settings():
        home = str(Path("~").expanduser())
        inside = Path("/root" + str(path).removeprefix(home)) if str(path).startswith(home + "/") else path
        copy(path, root / inside.relative_to("/"))
    for name in NETWORK_FILES:
        if Path(name).exists():
            copy(Path(name).resolve(), root / name[1:])
    if bundle := ca_bundle():
        copy(bundle.resolve(), root / CA_BUNDLE[1:])
        (root / "etc/apt/apt.conf.d/99machine-ca").write_text(f'Acquire::https::CAInfo "{CA_BUNDLE}";\n')


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # a link here could lead out of the root
    shutil.copyfile(source, target)
