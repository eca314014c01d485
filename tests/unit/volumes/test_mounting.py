"""What the kernel is asked for when a volume is mounted, and what clients read if it says no."""

import errno
import os
import socket

import pytest

from onggi.containers import failures, spec_mounts
from onggi.containers.mount_points import MountPoint
from onggi.errors import InvalidArgument, KernelError
from onggi.kernel import syscalls
from onggi.kernel.features import Features
from onggi.runtime import trees
from onggi.runtime.compile import Environment, compile_mounts
from onggi.runtime.plan import Root
from onggi.volumes import options

FEATURES = Features((6, 12), "x86_64", True, True, True, True, True, (1 << 41) - 1)
PLACE = "/var/lib/docker/volumes/v/_data"
NUMBERS = {
    "server": [(socket.AF_INET6, "2001:db8::9"), (socket.AF_INET, "192.0.2.9")],
    "six": [(socket.AF_INET6, "2001:db8::9")],
}


@pytest.fixture(autouse=True)
def names(monkeypatch):
    """A network in which two names lead somewhere."""

    def getaddrinfo(name, port, **_):
        if name[0].isdigit():
            return [(socket.AF_INET, None, None, "", (name, 0))]
        if name not in NUMBERS:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(family, None, None, "", (number, 0)) for family, number in NUMBERS[name]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def calls(monkeypatch):
    """The system calls that would mount, in their order."""
    made = []

    def recorded(name, result=lambda: None):
        def call(*arguments):
            made.append((name, *arguments[0 if name == "fsopen" else 1 :]))
            return result()

        monkeypatch.setattr(syscalls, name, call)

    for name in ("fsconfig_string", "fsconfig_flag", "fsconfig_create", "fsmount"):
        recorded(name)
    recorded("fsopen", lambda: os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
    monkeypatch.setattr(syscalls, "setns", lambda *_: None)
    return made


def mount(**given):
    """Mount a volume of these options, from the client's words to the system calls."""
    options.check(given)
    source = options.resolved(options.source(given, PLACE))
    point = MountPoint(type="volume", name="v", source=PLACE, destination="/v", writable=True)
    mounts = spec_mounts.point_mounts([point], {"/v": source})
    sources, _ = compile_mounts(mounts, Environment(FEATURES, Root("/r", "/r", ())))
    trees.clone_sources(sources, True)


def test_nfs_is_asked_for_what_docker_asks_for(calls):
    mount(type="nfs", o="addr=server,rw,nfsvers=4,soft,nolock,timeo=600", device=":/path")
    assert calls == [
        ("fsopen", "nfs"),
        ("fsconfig_string", "source", ":/path"),
        ("fsconfig_string", "addr", "192.0.2.9"),
        ("fsconfig_string", "nfsvers", "4"),
        ("fsconfig_flag", "soft"),
        ("fsconfig_flag", "nolock"),
        ("fsconfig_string", "timeo", "600"),
        ("fsconfig_create",),
        ("fsmount", 0),
    ]


def test_read_only_is_the_file_system_and_its_mount(calls):
    mount(type="nfs", o="addr=six,ro,nosuid", device=":/path")
    assert ("fsconfig_string", "addr", "2001:db8::9") in calls
    assert calls[-3:] == [
        ("fsconfig_flag", "ro"),
        ("fsconfig_create",),
        ("fsmount", syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID),
    ]


@pytest.mark.parametrize(
    ("o", "device", "found"),
    [
        ("username=u", "//server/share", "//192.0.2.9/share"),
        ("username=u", "//192.0.2.1/share", "//192.0.2.1/share"),
        ("username=u,addr=server", "//server/share", "//server/share"),
    ],
)
def test_servers_of_cifs(calls, o, device, found):
    mount(type="cifs", o=o, device=device)
    assert calls[1] == ("fsconfig_string", "source", found)


# As dockerd 28.5 answered on a kernel without these file systems.
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"type": "nfs", "o": "addr=192.0.2.9,rw,nfsvers=4"}, ", data: addr=192.0.2.9,nfsvers=4"),
        ({"type": "nfs"}, ""),
        ({"type": "nfs", "o": "addr=server,ro,nosuid,soft"}, ", flags: 0x3, data: addr=192.0.2.9,soft"),
        ({"type": "nfs", "o": "ro"}, ", flags: 0x1"),
        (
            {"type": "nfs", "o": "username=u,password=secret,addr=192.0.2.9"},
            ", data: username=u,password=********,addr=192.0.2.9",
        ),
    ],
)
def test_dockers_words_where_the_kernel_refuses(calls, monkeypatch, given, words):
    def refuse(fstype):
        raise KernelError("fsopen", errno.ENODEV, fstype)

    monkeypatch.setattr(syscalls, "fsopen", refuse)
    with pytest.raises(InvalidArgument) as caught:
        mount(device=":/path", **given)
    text = f"failed to mount local volume: mount :/path:{PLACE}{words}: no such device"
    assert str(caught.value) == f"error while mounting volume '{PLACE}': {text}"
    failure = {"step": "", "call": "", "errno": 0, "path": "", "message": str(caught.value)}
    assert str(failures.start_error(failure)) == str(caught.value)  # not an error of a task
    assert not calls


def test_a_name_that_leads_nowhere(calls):
    words = "error resolving passed in network volume address: lookup nowhere: no such host"
    with pytest.raises(InvalidArgument, match=f"^error while mounting volume '{PLACE}': {words}$"):
        mount(type="nfs", o="addr=nowhere", device=":/path")
    assert not calls
