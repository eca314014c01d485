"""Git repositories as contexts and sources of ADD, fetched by the machine's git (rule R26).

It is started by its absolute path with a clean environment, knows no configuration but ours, no hooks, no
helpers and no protocol but http, https and git, and ssh where a client forwards its agent: ssh then knows no
other key than the agent's and no other host than the client's. What the address has of names and passwords
is told to it in a file, never by arguments. No commit is trusted: files are taken from the result by
descriptor alone.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import shlex
import signal
import urllib.parse
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import msgspec

from onggi.archive import trees
from onggi.build import submodules
from onggi.build.agents import USUAL, Agents
from onggi.build.context import Place
from onggi.build.options import Ssh
from onggi.errors import InvalidArgument, ServerFailed, Unsupported
from onggi.kernel import process
from onggi.kernel.files import write_new

_SSH_PROGRAM = "/usr/bin/ssh"
_PROGRAMS = ("/usr/bin/git", "/usr/local/bin/git", "/bin/git")
_SHAPE = re.compile(r"(?:(?:git|ssh)://|git@)|https?://.*\.git(?:#.*)?$|github\.com/")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*)(?::\d{1,5})?|\[[0-9a-fA-F:]+\](?::\d{1,5})?")
_REF = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/+-]*[A-Za-z0-9_+-])?")
# git hands these to ssh: nothing in them begins with a dash or is for a shell.
_SSH = re.compile(
    r"(?:git@[A-Za-z0-9][A-Za-z0-9.-]*:(?!-)|ssh://(?:[A-Za-z0-9][A-Za-z0-9._-]*@)?"
    r"[A-Za-z0-9][A-Za-z0-9.-]*(?::\d{1,5})?/(?!-))[A-Za-z0-9~][A-Za-z0-9~._+/-]*"
)
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_TIMEOUT_S = 600
_MAX_OUTPUT = 1 << 16
_MAX_MODULES = 200
_MAX_DEPTH = 10
_SETTINGS = (
    "protocol.allow=never", "protocol.http.allow=always", "protocol.https.allow=always",
    "protocol.git.allow=always", "core.hooksPath=/dev/null", "core.fsmonitor=false", "credential.helper=",
    "submodule.recurse=false", "fetch.recurseSubmodules=false", "transfer.bundleURI=false",
    "fetch.fsckObjects=true", "gc.auto=0", "maintenance.auto=false", "advice.detachedHead=false",
)  # fmt: skip


class Repository(NamedTuple):
    """An address in parts: without name and password, which are ``user``; what is fetched, and which part."""

    url: str
    user: str
    ref: str
    subdirectory: str


class Clone(NamedTuple):
    """What was fetched: the directory, the part of it that was asked for, and the commit."""

    directory: str
    subdirectory: str
    commit: str


def is_git(source: str) -> bool:
    """Whether a source is a repository."""
    return _SHAPE.match(source) is not None


def parse(source: str) -> Repository:
    """The parts of an address, each of a harmless shape. Raises InvalidArgument, Unsupported."""
    address, _, fragment = source.partition("#")
    ref, _, subdirectory = fragment.partition(":")
    if ref and (not _REF.fullmatch(ref) or ".." in ref):
        raise InvalidArgument(f"invalid git reference {ref!r}")
    if ".." in subdirectory.split("/") or "\0" in subdirectory:
        raise InvalidArgument(f"invalid git subdirectory {subdirectory!r}: it leads out of the repository")
    url, user = _address(address)
    return Repository(url, user, ref or "HEAD", subdirectory.strip("/"))


def _address(address: str) -> tuple[str, str]:
    """What git is told, and a name and password that it is told otherwise. Raises InvalidArgument."""
    if address.startswith(("git@", "ssh://")):
        if not _SSH.fullmatch(address):
            raise InvalidArgument(f"invalid git address {re.sub(r'(?<=//)[^/@]*@', '', address)[:200]!r}")
        return address, ""
    if address.startswith("github.com/"):
        address = f"https://{address}"
    parts = urllib.parse.urlsplit(address)
    user, _, host = parts.netloc.rpartition("@")
    if parts.scheme not in ("http", "https", "git") or not _HOST.fullmatch(host):
        raise InvalidArgument(f"invalid git address {parts._replace(netloc=host).geturl()!r}")
    # urlsplit leaves out some characters that git would not.
    if re.search(r"[\x00-\x20\x7f\\]", address) or parts.path.startswith("/-"):
        raise InvalidArgument(f"invalid git address {parts._replace(netloc=host).geturl()!r}")
    if not parts.path.strip("/") or parts.query:
        raise InvalidArgument(f"invalid git address {parts._replace(netloc=host).geturl()!r}")
    return parts._replace(netloc=host).geturl(), user


@contextlib.asynccontextmanager
async def with_agent(agents: Agents, place: Place, ssh: Ssh) -> AsyncIterator[Place]:
    """The place of a build, with its client's usual agent for repositories behind ssh."""
    if USUAL not in ssh.ids:
        yield place
        return
    directory = f"{place.secrets}/ssh"
    os.mkdir(directory, 0o700)
    write_new(f"{directory}/known_hosts", ssh.known_hosts.encode())
    async with agents.served(ssh.token, USUAL, directory):
        yield msgspec.structs.replace(place, ssh=directory)


async def clone(place: Place, source: str, *, keep_git_dir: bool = False) -> Clone:
    """The files of a commit in a new directory, with those of its submodules. Raises InvalidArgument,
    Unsupported, ServerFailed.
    """
    wanted = parse(source)
    return await _Cloning(place, wanted).clone(wanted, keep_git_dir=keep_git_dir)


class _Cloning:
    """One repository and its submodules."""

    def __init__(self, place: Place, root: Repository) -> None:
        self._place, self._root, self._count = place, root, 0

    async def clone(self, wanted: Repository, depth: int = 0, *, keep_git_dir: bool = False) -> Clone:
        """The files of a commit in a new directory."""
        place = self._place
        by_ssh = wanted.url.startswith(("git@", "ssh://"))
        if by_ssh and not place.ssh:
            raise Unsupported(
                "repositories behind ssh need your agent: onggi build --ssh default; or use https"
            )
        directory = place.directory(0o755)
        settings = _settings_file(place, (self._root, wanted))
        git = _Git(directory, settings, place.ssh if by_ssh else "")
        await git.run("init", "--quiet")
        said = await git.run("fetch", "--quiet", "--no-tags", "--depth=1", "--", wanted.url, wanted.ref)
        commit = _fetched(directory)
        if not commit:
            raise ServerFailed(f"failed to fetch {wanted.url} {wanted.ref}: {said or 'git said nothing'}")
        said = await git.run("checkout", "--quiet", "--detach", commit)
        if not _checked_out(directory, commit):
            raise ServerFailed(f"failed to check out {commit} of {wanted.url}: {said}")
        if os.path.lexists(f"{directory}/.gitmodules"):
            await self._submodules(git, Clone(directory, "", commit), wanted.url, depth)
        if not keep_git_dir:
            await asyncio.to_thread(trees.remove, f"{directory}/.git")
        return Clone(directory, wanted.subdirectory, commit)

    async def _submodules(self, git: _Git, clone: Clone, url: str, depth: int) -> None:
        blob = ("--blob", f"{clone.commit}:.gitmodules")
        found = submodules.modules(
            await git.output("config", "-z", *blob, "--get-regexp", r"^submodule\..*\.(path|url|update)$")
        )
        for module in found:
            listed = await git.output("ls-tree", "-z", clone.commit, "--", module.path)
            commit = submodules.commit(listed)
            if not commit:
                continue  # as git does: what .gitmodules tells of is not there
            self._count += 1
            if depth >= _MAX_DEPTH or self._count > _MAX_MODULES:
                raise InvalidArgument(
                    f"{self._root.url} has more than {_MAX_MODULES} submodules, or {_MAX_DEPTH} below another"
                )
            address, user = _address(submodules.absolute(module.url, url))
            below = await self.clone(Repository(address, user, commit, ""), depth + 1)
            if below.commit != commit:
                raise ServerFailed(f"failed to fetch {address} {commit}: got {below.commit}")
            await asyncio.to_thread(submodules.put, below.directory, clone.directory, module.path)


class _Git:
    """Runs git in one directory."""

    def __init__(self, directory: str, settings: str, ssh: str) -> None:
        """``ssh`` is the directory of an agent's socket, "" for other protocols."""
        self._directory = directory
        self._settings = [*_SETTINGS, "protocol.ssh.allow=always"] if ssh else _SETTINGS
        self._program = next((it for it in _PROGRAMS if os.access(it, os.X_OK)), "")
        if not self._program:
            raise Unsupported("git sources need git on this machine: install it, or fetch the files yourself")
        self._env = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": directory,
            "LC_ALL": "C.UTF-8",
            "GIT_ALLOW_PROTOCOL": "ssh" if ssh else "http:https:git",
            "GIT_ASKPASS": "/bin/false",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": settings,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            **({"GIT_SSH_COMMAND": _ssh_command(ssh), "GIT_SSH_VARIANT": "ssh"} if ssh else {}),
        }

    async def run(self, *words: str) -> str:
        """What one command said last; whether it did its work is for the caller to see."""
        said = await self._all(*words)
        return said.decode("utf-8", "replace").strip()[-500:]

    async def output(self, *words: str) -> bytes:
        """All that a command said. Raises InvalidArgument where that is more than one may say."""
        said = await self._all("--literal-pathspecs", *words)
        if len(said) >= _MAX_OUTPUT:
            raise InvalidArgument("the repository's .gitmodules is too large")
        return said

    async def _all(self, *words: str) -> bytes:
        settings = [word for setting in self._settings for word in ("-c", setting)]
        argv = [self._program, "-C", self._directory, *settings, *words]
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        null_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fds = {0: null_fd, 1: write_fd, 2: write_fd}
            pid = process.spawn(argv, env=self._env, fds=fds, setsid=True)
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
            os.close(null_fd)
        return await _output(read_fd, pid)


def _ssh_command(directory: str) -> str:
    """ssh without a word of this machine's: no settings, keys, hosts or passwords but the client's."""
    options = [
        f"IdentityAgent={directory}/agent", f"UserKnownHostsFile={directory}/known_hosts",
        "IdentityFile=none", "GlobalKnownHostsFile=/dev/null", "StrictHostKeyChecking=yes", "BatchMode=yes",
        "ForwardAgent=no", "ClearAllForwardings=yes", "PermitLocalCommand=no", "ControlPath=none",
        "PreferredAuthentications=publickey", "UpdateHostKeys=no",
    ]  # fmt: skip
    return shlex.join([_SSH_PROGRAM, "-F", "none", *(word for it in options for word in ("-o", it))])


async def _output(read_fd: int, pid: int) -> bytes:
    """All that a program and what it started say, until they have ended; who leaves ends them."""
    reading = asyncio.ensure_future(asyncio.to_thread(_read, read_fd))
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await asyncio.shield(reading)
    except BaseException as error:
        if not reading.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        await asyncio.wait([reading])
        if isinstance(error, TimeoutError):
            raise ServerFailed(f"git did not end within {_TIMEOUT_S} s") from None
        raise


def _read(fd: int) -> bytes:
    said = b""
    try:
        while piece := os.read(fd, 4096):
            said = (said + piece)[-_MAX_OUTPUT:]
    finally:
        os.close(fd)
    return said


def _settings_file(place: Place, known: Sequence[Repository]) -> str:
    """The only configuration that git has: for whom names and passwords are, the last where they differ."""
    text = "[core]\n\tsymlinks = true\n"
    users = {
        f"{parts.scheme}://{parts.netloc}/": it.user
        for it in known
        if it.user and (parts := urllib.parse.urlsplit(it.url))
    }
    for origin, user in users.items():
        text += f'[http "{origin}"]\n\textraHeader = Authorization: {basic(user)}\n'
    path = f"{place.secrets}/{uuid.uuid4().hex}"
    write_new(path, text.encode())
    return path


def basic(user: str) -> str:
    """What a server is told of the name and password of an address."""
    return "Basic " + base64.b64encode(urllib.parse.unquote(user).encode()).decode()


def _fetched(directory: str) -> str:
    """The commit that was fetched, empty if none was."""
    try:
        with open(f"{directory}/.git/FETCH_HEAD", encoding="ascii", errors="replace") as file:
            first = file.read(64).split("\t")[0].strip()
    except OSError:
        return ""
    return first if _COMMIT.fullmatch(first) else ""


def _checked_out(directory: str, commit: str) -> bool:
    """Whether git has written all files of the commit, which it does before it says so."""
    try:
        with open(f"{directory}/.git/HEAD", encoding="ascii", errors="replace") as file:
            return file.read(80).strip() == commit and not os.path.exists(f"{directory}/.git/index.lock")
    except OSError:
        return False
