"""A runtime, images and snapshots that only remember: the container service is tested against them."""

import asyncio
import os
import time

from fake_networks import fake_networks

from onggi.containers.context import Context
from onggi.containers.events import EventBus
from onggi.containers.host import Host
from onggi.containers.runtime import ExitRecord, Started
from onggi.containers.schema import MIGRATIONS
from onggi.containers.service import Containers
from onggi.errors import NotFound
from onggi.networks import repository
from onggi.oci.image import Image
from onggi.store.database import Database
from onggi.store.rootfs import Overlay, Rootfs
from onggi.store.snapshots import Draft, Release
from onggi.store.spares import Spares
from onggi.volumes import schema as volumes
from onggi.volumes.holding import Holding
from onggi.volumes.registry import Registry
from onggi.volumes.service import Volumes

CAPABILITIES = (
    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID "
    "CAP_SETPCAP CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW "
    "CAP_IPC_LOCK CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_ADMIN CAP_MKNOD CAP_AUDIT_WRITE CAP_SETFCAP"
)
MACHINE = Host(cpus=frozenset({0, 1}), mems=frozenset({0}), capabilities=tuple(CAPABILITIES.split()))


class FakeRuntime:
    """Containers run until ``finish``; SIGTERM and SIGKILL end them unless ``deaf``."""

    def __init__(self):
        self.requests, self.calls = [], []
        self.fail = None
        self.deaf = False
        self.auto_exit = None
        self.warnings = []
        self.recovered = {}
        self.forgotten = []
        self._exits, self._flushed, self._execs = {}, {}, {}

    def prepared_id(self):
        return ""

    async def start(self, request):
        self.requests.append(request)
        for attach in request.attach:
            os.close(attach.fd)
        if self.fail:
            raise self.fail
        self.follow(request.id)
        if self.auto_exit is not None:
            self.finish(request.id, self.auto_exit)
        return Started(pid=4321, started_ns=time.time_ns(), warnings=self.warnings)

    def follow(self, container_id):
        loop = asyncio.get_running_loop()
        self._exits[container_id] = loop.create_future()
        self._flushed[container_id] = loop.create_future()

    def finish(self, container_id, code=0, **facts):
        if not self._exits[container_id].done():
            run = self.requests[-1].run if self.requests else 1
            record = ExitRecord(run=run, code=code, finished_ns=time.time_ns(), **facts)
            self._exits[container_id].set_result(record)
            self._flushed[container_id].set_result(None)

    def exited(self, container_id):
        return self._exits[container_id]

    def flushed(self, container_id):
        return self._flushed[container_id]

    def sweep(self, alive):
        self.swept = dict(alive)

    def ended_execs(self, container_id, run):
        return {}

    async def recover(self, container_id, run):
        found = self.recovered.get(container_id)
        if found is not None and not isinstance(found, ExitRecord):
            self.follow(container_id)
        return found

    async def call(self, container_id, verb, arguments, fds=()):
        for fd in fds:
            os.close(fd)
        self.calls.append((verb, arguments))
        if container_id not in self._exits or self._exits[container_id].done():
            raise NotFound(f"container {container_id} is not running")
        return await getattr(self, f"do_{verb}", self.do_nothing)(container_id, arguments)

    async def do_nothing(self, container_id, arguments):
        return {}

    async def do_signal(self, container_id, arguments):
        if arguments["signal"] in (9, 15) and not (self.deaf and arguments["signal"] == 15):
            self.finish(container_id, 128 + arguments["signal"])
        return {}

    async def do_kill(self, container_id, arguments):
        self.finish(container_id, 137)
        return {}

    async def do_exec(self, container_id, arguments):
        if self.fail:
            raise self.fail
        self._execs[arguments["id"]] = asyncio.get_running_loop().create_future()
        return {"pid": 77}

    async def do_exec_wait(self, container_id, arguments):
        return {"code": await self._execs[arguments["id"]], "error": ""}

    def finish_exec(self, exec_id, code):
        self._execs[exec_id].set_result(code)

    async def do_pids(self, container_id, arguments):
        return {"pids": [os.getpid()]}

    async def forget(self, container_id, run):
        self.forgotten.append((container_id, run))


class FakeImages:
    def __init__(self, config=None):
        self.config = {"Cmd": ["sh"], "Env": ["PATH=/bin", "A=image"], **(config or {})}

    async def get(self, ref):
        if ref not in ("busybox", "sha256:" + "ab" * 32):
            raise NotFound(f"No such image: {ref}:latest")
        config = {"os": "linux", "architecture": "amd64", "config": self.config}
        return Image("sha256:" + "ab" * 32, config, ["busybox:latest"], 1000, "", [])


class FakeSnapshots:
    def __init__(self, lower):
        self.lower, self.prepared = lower, set()

    async def layers(self, image):
        return [self.lower]

    async def draft(self, container_id, image, *, host_show=(), volatile=False, beside=()):
        self.prepared.add(container_id)
        rootfs = Rootfs("overlay", [Overlay(target="/", lowers=[self.lower])])
        return Draft(rootfs, None, lambda connection: None)

    def release(self, container_id):
        return Release(lambda connection: None, lambda: self.prepared.discard(container_id))

    async def remove(self, container_id, *, durable=True):
        self.prepared.discard(container_id)

    async def usage(self, container_id):
        return 42


class World:
    """A container service over fakes in a directory; ``reopen`` is a new engine on the same database."""

    def __init__(self, root, image_config=None):
        self.root, self.copied, self.committed = root, [], []
        self.runtime, self.images = FakeRuntime(), FakeImages(image_config)
        self.snapshots = FakeSnapshots(str(root / "image"))
        (root / "image/etc").mkdir(parents=True)
        (root / "image/etc/passwd").write_text(
            "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"
        )
        (root / "image/etc/group").write_text("root:x:0:\nwheel:x:10:root,app\napp:x:1000:\n")
        self.open()

    def open(self):
        migrations = [*MIGRATIONS, *volumes.MIGRATIONS, *repository.MIGRATIONS]
        self.database = Database(str(self.root / "meta.db"), migrations)
        self.events = EventBus(self.database)
        self.registry = Registry(self.database, str(self.root / "volumes"), self.events.publish)
        self.registry.recover()
        self.volumes = Volumes(self.registry)
        self.networks = fake_networks(self.database, self.events, self.root / "run")
        self.context = Context(
            database=self.database, images=self.images, snapshots=self.snapshots, runtime=self.runtime,
            events=self.events, host=MACHINE, seccomp=lambda profile, caps: b"bpf",
            data_root=str(self.root / "data"), exec_root=str(self.root / "run"),
            spares=Spares(str(self.root / "spares")), networks=self.networks,
            volumes=Holding(self.registry), copy_up=self.copy_up, transfers=self,
        )  # fmt: skip
        self.containers = Containers(self.context)

    async def commit(self, chunks, wish):
        self.committed.append((b"".join([piece async for piece in chunks]), wish))
        return "sha256:" + "cd" * 32

    async def copy_up(self, rootfs, path, target):
        self.copied.append(path)
        fd = os.open("copied", os.O_WRONLY | os.O_CREAT, dir_fd=target)
        os.close(fd)
        return {"kind": "directory"}

    async def close(self):
        await self.containers.close()
        self.registry.directories.trash.close()
        await self.networks.close()
        self.database.close()

    async def reopen(self):
        await self.close()
        self.runtime = FakeRuntime()
        self.open()

    async def create(self, name="c1", **body):
        host = body.pop("HostConfig", {})
        request = {"Image": "busybox", "Cmd": ["true"], **body, "HostConfig": {"NetworkMode": "none", **host}}
        return (await self.containers.create(name, request))[0]

    def actions(self, type="container"):
        return [message["Action"] for message in self.events._messages if message["Type"] == type]
