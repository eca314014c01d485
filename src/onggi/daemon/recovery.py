"""What an engine finds at its start: directories of runs that outlived it, or those of an earlier boot.

``/run`` need not be a tmpfs (seen: ext4, and inside containers), so the boot is told by the kernel's boot_id.
"""

from __future__ import annotations

import contextlib
import os
import shutil

from onggi.errors import KernelError
from onggi.kernel.files import write_atomic
from onggi.kernel.process import boot_id

_LEFTOVERS = ("launcher.sock", "onggid.json", "onggi.sock")


def prepare_exec_root(exec_root: str, boot: str | None = None) -> bool:
    """Make ``containers/`` and remember the boot; True if nothing in the exec root outlived the last engine.

    After a reboot every run directory is removed: its processes are gone and their numbers mean others.
    """
    boot = boot or boot_id()
    rebooted = _last_boot(exec_root) != boot
    if rebooted:
        shutil.rmtree(f"{exec_root}/containers", ignore_errors=True)
        for name in _LEFTOVERS:
            with contextlib.suppress(FileNotFoundError):  # not every engine leaves every file
                os.unlink(f"{exec_root}/{name}")
    os.makedirs(f"{exec_root}/containers", 0o700, exist_ok=True)
    os.chmod(f"{exec_root}/containers", 0o700)
    write_atomic(f"{exec_root}/boot_id", boot.encode() + b"\n", durable=False)
    return rebooted


def _last_boot(exec_root: str) -> str:
    try:
        with open(f"{exec_root}/boot_id", encoding="ascii") as file:
            return file.read(64).strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise KernelError("open", error.errno or 0, f"{exec_root}/boot_id") from None
