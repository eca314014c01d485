"""How an engine's process is started: isolated from its caller, with a heap in huge pages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from onggi.cli.commands import daemon
from onggi.client import spawn
from onggi.interpreter import HEAP, engine_command, engine_environment

PROGRAM = """
import json, os, sys
json.dump([sys.flags.no_user_site, sys.flags.safe_path, sys.path, os.environ.get("PYTHONMALLOC")], sys.stdout)
"""
HEAP_PROGRAM = """
import json, re, sys
kept = [object() for _ in range(400000)]
maps = open("/proc/self/smaps").read()
json.dump(re.findall(r"\\[heap\\](?:\\n\\w+:.*)*?\\nVmFlags:(.*)", maps), sys.stdout)
"""
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def started(directory, environment, program=PROGRAM):
    """What the interpreter of an engine's command line says of itself."""
    command = engine_command()
    command[command.index("-c") + 1] = program
    done = subprocess.run(command, env=environment, cwd=directory, capture_output=True, check=True)
    return json.loads(done.stdout)


def test_nothing_of_the_callers_python_reaches_the_engine(tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit('code of the caller')")
    caller = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": "x", "PYTHONHOME": "/nowhere"}
    no_user_site, safe_path, path, allocator = started(tmp_path, engine_environment(caller))
    assert (no_user_site, safe_path, allocator) == (1, True, "malloc")
    assert not {str(tmp_path), ""} & set(path)


def test_the_environment_is_otherwise_the_callers():
    assert engine_environment({"PATH": "/bin", "PYTHONINSPECT": "1"}) == {"PATH": "/bin", **HEAP}
    assert engine_command("--validate")[-1] == "--validate"
    assert engine_command()[0] == sys.executable


def test_the_heap_lies_in_huge_pages_where_one_has_to_ask_for_them(tmp_path):
    flags = started(tmp_path, engine_environment(os.environ), HEAP_PROGRAM)
    assert flags
    if HUGE_PAGES.exists() and "[madvise]" in HUGE_PAGES.read_text():
        assert any("hg" in words.split() for words in flags)


def test_whoever_starts_the_engine_gives_it_that_heap(monkeypatch: pytest.MonkeyPatch):
    given = []
    monkeypatch.setattr(os, "execve", lambda path, argv, env: given.append(env))
    monkeypatch.setattr(os, "posix_spawn", lambda path, argv, env, **how: given.append(env))
    daemon.run(None, None, [])
    spawn._spawn({"PATH": "/bin"}, 1, 2)
    assert [HEAP.items() <= env.items() for env in given] == [True, True]
