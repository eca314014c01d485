"""The packet filter's program: what is said when it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from onggi.errors import KernelError, Unavailable
from onggi.kernel import nft


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where nft is looked for."""
    path = tmp_path / "nft"
    path.touch(0o755)
    monkeypatch.setattr(nft, "_PLACES", (str(path),))
    return path


def test_a_program_that_refuses_is_quoted(program: Path) -> None:
    program.write_text("#!/bin/sh\necho 'syntax error' >&2\necho more >&2\nexit 1\n")
    with pytest.raises(KernelError, match=r"^nft syntax error: invalid argument$"):
        nft.apply("add table ip x")


def test_a_program_that_crashes_is_no_refusal(program: Path) -> None:
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    with pytest.raises(Unavailable, match=r"^the program nft crashed \(signal 11, .*update the package"):
        nft.apply("add table ip x")
