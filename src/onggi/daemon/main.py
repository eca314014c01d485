"""The way into onggid: ``main(argv)`` reads, checks, is born, locks, and serves until it is told to end."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from onggi.daemon import birth, config, detach, install, log, namespaces, notify, options
from onggi.daemon.config import Config
from onggi.daemon.locks import Locks, acquire
from onggi.daemon.options import Options
from onggi.errors import OnggiError, Unsupported
from onggi.kernel import cgroups, syscalls
from onggi.kernel.failpoints import failpoint
from onggi.version import VERSION, build_id

_CAP_SYS_ADMIN = 1 << 21
LOG_NAME = "onggid.log"
_LOG_LIMIT = 10_000_000

logger = logging.getLogger("onggid")


def main(argv: Sequence[str]) -> int:
    """Run the daemon's command line; returns the exit status. Errors are one sentence on standard error."""
    try:
        return _main(options.parse(argv))
    except OnggiError as error:
        sys.stderr.write(f"onggid: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _main(given: Options) -> int:
    if given.has("help") or given.has("version"):
        version = f"Onggi version {VERSION}, build {build_id()}\n"
        sys.stdout.write(options.usage() if given.has("help") else version)
        return 0
    settings = config.load(given, os.environ)
    if given.has("validate"):
        sys.stderr.write("configuration OK\n")
        return 0
    _check_rights()
    if given.has("install"):
        sys.stdout.write(install.install(settings))
        return 0
    if not settings.here:
        namespaces.check()
    if given.has("detach"):
        return detach.detach(settings, given)
    return _serve(settings, given)


def _check_rights() -> None:
    """Data, not a user id: what counts is whether this process may mount and unshare."""
    if not syscalls.capget().effective & _CAP_SYS_ADMIN:
        raise Unsupported("the engine needs root (CAP_SYS_ADMIN): start it with sudo")


def _serve(settings: Config, given: Options) -> int:
    locks = acquire(settings)
    if locks is None:
        return 0  # another starter won and serves already
    syscalls.share_one_heap()
    ready_fd = given.number("ready-fd", -1)
    born = birth.be_born(_world(settings, given, locks, ready_fd))
    log.set_up(settings.log_level)
    for failure in born.failures:
        logger.info("not permitted here: %s", failure)
    try:
        return asyncio.run(_run(settings, given, born, ready_fd))
    except OnggiError as error:
        logger.error("%s", error)
        return 1
    finally:
        locks.release()


def _world(settings: Config, given: Options, locks: Locks, ready_fd: int) -> birth.World:
    clean = settings.on_demand or given.has("detached")
    log_path = f"{settings.exec_root}/{LOG_NAME}"
    if clean:
        _start_new_log(log_path)
    return birth.World(
        mode="clean" if clean else "foreground",
        log_path=log_path,
        cgroup=f"{settings.cgroup_parent}/engine",
        hierarchies=cgroups.detect(),
        keep_fds=(*locks.fds, *((ready_fd,) if ready_fd >= 0 else ())),
    )


def _start_new_log(path: str) -> None:
    try:
        if os.stat(path).st_size > _LOG_LIMIT:
            os.replace(path, f"{path}.1")
    except FileNotFoundError:
        pass  # the first start


async def _run(settings: Config, given: Options, born: birth.Birth, ready_fd: int) -> int:
    # Here and not above: a starter that loses the race does not pay for loading the engine.
    from onggi.daemon.engine import Daemon

    daemon = Daemon(settings, born, detach.relaunch_argv(settings))
    try:
        await daemon.start()
        failpoint("daemon.recovered")
        notify.starter(ready_fd)
        notify.supervisor("READY=1")
        await daemon.serve()
        notify.supervisor("STOPPING=1")
    finally:
        await daemon.close()
    return 0
