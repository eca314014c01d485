"""An engine without containers: enough of every service for clients to believe in one."""

import asyncio
import socket
import threading
import time

from onggi.containers.events import EventBus
from onggi.errors import Conflict, NotFound
from onggi.frames import frame
from onggi.logs.record import Record

ID = "c0ffee" + "0" * 58


def echo_framed(fd, early, finished):
    """A container that is `cat`: what comes in goes out when the input has ended."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(True)
    data = early
    while piece := sock.recv(65536):
        data += piece
    sock.sendall(frame(1, b"out:" + data) + frame(2, b"err\n"))
    sock.close()
    finished()


class FakeContainers:
    """One container named `one`, whose program is `cat`."""

    def __init__(self, events):
        self.events, self.calls, self.running = events, [], False
        self.exit = None

    def _find(self, ref):
        if ref not in ("one", ID, ID[:12]):
            raise NotFound(f"No such container: {ref}")

    def _exited(self):
        self.running = False
        if not self.exit.done():
            self.exit.set_result({"StatusCode": 7, "Error": None})

    async def create(self, name, body, *, platform=None):
        if body["Image"] != "busybox":
            raise NotFound(f"No such image: {body['Image']}:latest")
        self.calls.append(("create", name, body))
        self.exit = asyncio.get_running_loop().create_future()
        return ID, []

    async def attach(self, ref, options, hijack):
        self._find(ref)
        fd, early = await hijack()
        loop = asyncio.get_running_loop()

        def finished():
            loop.call_soon_threadsafe(self._exited)

        threading.Thread(target=echo_framed, args=(fd, early, finished)).start()

    async def start(self, ref, *, checkpoint=None):
        self._find(ref)
        self.running = True
        self.events.publish("container", "start", ID, {"name": "one", "image": "busybox"})

    async def stop(self, ref, *, timeout_s, signal):
        self._find(ref)
        self.calls.append(("stop", timeout_s, signal))

    async def kill(self, ref, signal):
        self._find(ref)
        raise Conflict(f"container {ref} is not running")

    async def remove(self, ref, *, force, volumes, link):
        self._find(ref)
        self.calls.append(("remove", force, volumes))

    async def wait(self, ref, condition):
        self._find(ref)
        return asyncio.ensure_future(self._result())

    async def _result(self):
        return await asyncio.shield(self.exit)

    async def list(self, *, all, limit, size, filters):
        self.calls.append(("list", all, limit, filters))
        return [
            {
                "Id": ID,
                "Names": ["/one"],
                "Image": "busybox",
                "ImageID": "sha256:" + "1" * 64,
                "Command": "cat",
                "Created": int(time.time()),
                "State": "running",
                "Status": "Up 1 second",
                "Ports": [],
                "Labels": {},
                "HostConfig": {"NetworkMode": "none"},
                "NetworkSettings": {"Networks": {}},
                "Mounts": [],
            }
        ]

    async def inspect(self, ref, size):
        self._find(ref)
        return {
            "Id": ID,
            "Name": "/one",
            "Image": "sha256:" + "1" * 64,
            "Config": {"Tty": False, "Image": "busybox"},
            "State": {"Running": self.running, "Status": "running"},
            "HostConfig": {"NetworkMode": "none", "LogConfig": {"Type": "json-file"}},
        }

    def is_tty(self, ref):
        self._find(ref)
        return False

    def takes_input(self, ref):
        self._find(ref)
        return True

    async def logs(self, ref, query, render):
        yield render(Record(1_000_000_001, 1, b"to stdout\n"))
        yield render(Record(2_000_000_002, 2, b"to stderr\n"))
        if query.follow:
            await asyncio.get_running_loop().create_future()

    async def exec_create(self, ref, body):
        self._find(ref)
        return "e" * 64

    async def exec_start(self, exec_id, options, hijack):
        if hijack is not None:
            fd, early = await hijack()
            threading.Thread(target=echo_framed, args=(fd, early, lambda: None)).start()

    async def exec_run(self, body, hijack):
        return {"Id": await self.exec_create(body["Container"], body["Config"]), "ExitCode": 3}

    async def exec_inspect(self, exec_id):
        return {"ID": exec_id, "Running": False, "ExitCode": 3}

    async def resize(self, ref, h, w):
        self.calls.append(("resize", h, w))

    async def top(self, ref, ps_args):
        return {"Titles": ["PID", "CMD"], "Processes": [["1", ps_args]]}

    async def run(self, body, hijack):
        return {"Id": ID, "Warnings": [], "StatusCode": 0}

    async def prune(self, filters):
        return {"ContainersDeleted": [], "SpaceReclaimed": 0}


class FakeImages:
    """No images."""

    async def list(self, filters, all, *, shared=False):
        return []

    async def inspect(self, ref):
        raise NotFound(f"No such image: {ref}")

    async def prune(self, filters):
        return {"ImagesDeleted": [], "SpaceReclaimed": 0}


class FakeVolumes:
    """Whatever is asked for exists."""

    async def list(self, filters):
        return []

    async def create(self, body):
        return {"Name": body["Name"]}

    async def inspect(self, name):
        return {"Name": name}

    async def prune(self, filters):
        return {"VolumesDeleted": [], "SpaceReclaimed": 0}


class FakeTransfers:
    """Counts what is imported."""

    async def import_(self, chunks, *, reference, changes, message, platform):
        size = 0
        async for piece in chunks:
            size += len(piece)
        yield {"status": f"{size} bytes of {reference} {changes}"}

    async def pull(self, name, tag, *, platform, auth):
        familiar = name.removeprefix("docker.io/library/")
        raise NotFound(f"pull access denied for {familiar}, repository does not exist")
        yield


class FakeNetworks:
    """The bridge alone."""

    async def list_(self, *_, **__):
        return [{"Name": "bridge", "Id": "1" * 64, "Driver": "bridge", "Scope": "local"}]

    async def prune(self, *_):
        return {"NetworksDeleted": []}


class FakeSystem:
    """Fixed answers."""

    async def info(self):
        return {"ID": "x", "Containers": 1, "SecurityOptions": ["name=seccomp,profile=builtin"]}

    async def version(self):
        return {"Version": "0", "ApiVersion": "1.51", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64"}

    async def doctor(self):
        return {"ok": True}


class FakeDataRoot:
    """Nothing is there."""

    async def usage(self):
        return {"LayersSize": 0, "Images": [], "Containers": [], "Volumes": [], "BuildCache": []}


class FakeBuilder:
    async def prune(self, rule):
        return {"CachesDeleted": None, "SpaceReclaimed": 0}


class FakeEngine:
    """All services."""

    def __init__(self):
        self.events = EventBus()
        self.containers = FakeContainers(self.events)
        self.volumes = FakeVolumes()
        self.images, self.transfers, self.system = FakeImages(), FakeTransfers(), FakeSystem()
        self.networks, self.data_root = FakeNetworks(), FakeDataRoot()
        self.builder = FakeBuilder()
