"""The walk over the machine's shown trees, in a process of its own and, where that fails, in ours."""

import sys

import pytest

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
