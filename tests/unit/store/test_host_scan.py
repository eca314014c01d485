"""The walk over the machine's shown trees, in a process of its own and, where that fails, in ours."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from onggi.errors import Unavailable
from onggi.store.host_scan import Scanner
from onggi.store.rootfs import Mask


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "shown"
    (root / "app").mkdir(parents=True)
    (root / "app" / "notes.txt").write_text("nothing to hide")
    (root / "app" / "secret.key").write_text("-----BEGIN PRIVATE KEY-----\n")
    return root


def test_a_process_of_its_own_finds_what_is_hidden(tree, tmp_path):
    found = Scanner(str(tmp_path / "masks.json"), (str(tree),))._scan_elsewhere()
    assert Mask("whiteout", f"{tree}/app/secret.key") in found
    assert (tmp_path / "masks.json").exists()


def test_without_such_a_process_the_same_is_found(tree, tmp_path, monkeypatch):
    scanner = Scanner(str(tmp_path / "masks.json"), (str(tree),))
    elsewhere = scanner.whole()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    assert scanner._scan_elsewhere() is None
    assert scanner.whole() == elsewhere


def test_a_walk_ends_when_the_engine_does(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", endless(tmp_path))
    scanner = Scanner(str(tmp_path / "masks.json"), (str(tree),))
    with ThreadPoolExecutor() as pool:
        walk = pool.submit(scanner.whole)
        scanner.close()
        with pytest.raises(Unavailable):  # and never a view without masks
            walk.result(30)


def test_who_waits_lets_a_walk_have_its_share(tree, tmp_path, monkeypatch):
    """Also if the walk begins after that."""
    policies = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda pid, policy, _: policies.append(policy))
    scanner = Scanner(str(tmp_path / "masks.json"), (str(tree),))
    scanner.whole()
    assert policies == [os.SCHED_IDLE]
    scanner.hurry()
    scanner.whole()
    assert policies[1:] == [os.SCHED_IDLE, os.SCHED_OTHER]


def endless(directory):
    """A program that does not end by itself."""
    program = directory / "endless"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    return str(program)
