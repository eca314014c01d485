"""The run directory over boots, logs of the engine, idleness."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from onggi.daemon.idle import Idle
from onggi.daemon.log import Formatter
from onggi.daemon.recovery import prepare_exec_root


def test_another_boot_empties_the_run_directory(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert prepare_exec_root(root, "boot-1")
    run = tmp_path / "containers" / "abc" / "1"
    run.mkdir(parents=True)
    (tmp_path / "launcher.sock").touch()
    assert not prepare_exec_root(root, "boot-1")
    assert run.exists()
    assert prepare_exec_root(root, "boot-2")
    assert not run.exists()
    assert not (tmp_path / "launcher.sock").exists()
    assert (tmp_path / "containers").stat().st_mode & 0o777 == 0o700


def test_nobody_can_forge_a_line_of_the_log() -> None:
    record = logging.LogRecord("onggid", logging.INFO, "", 0, "name %s", ("a\nFAKE error",), None)
    line = Formatter().format(record)
    assert line.endswith("Z info onggid: name a\\nFAKE error")
    assert "\n" not in line


def test_idleness_begins_anew_with_every_request() -> None:
    requests = iter(range(1, 4))
    count = 0

    def activity() -> int:
        nonlocal count
        count = next(requests, count)
        return count

    asyncio.run(asyncio.wait_for(Idle(0.2, lambda: False, activity).wait(), 30))
    assert count == 3


def test_a_busy_engine_is_not_idle() -> None:
    looks = 0

    def busy() -> bool:
        nonlocal looks
        looks += 1
        return looks < 5

    asyncio.run(asyncio.wait_for(Idle(0.2, busy, lambda: 0).wait(), 30))
    assert looks >= 5
