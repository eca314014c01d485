"""Modes as chmod(1) reads them."""

import pytest

from onggi.archive import modes
from onggi.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "before", "directory", "after"),
    [
        ("0644", 0o777, False, 0o644),
        ("4755", 0, False, 0o4755),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o600, True, 0o755),
        ("u=rwX,go=rX", 0o700, False, 0o755),
        ("+x", 0o644, False, 0o755),
        ("a-w", 0o666, False, 0o444),
        ("go-rwx", 0o777, False, 0o700),
        ("ug=rw,o=", 0o777, False, 0o660),
        ("u+s,g+s", 0o755, False, 0o6755),
        ("+t", 0o777, True, 0o1777),
        ("u=r+x", 0o666, False, 0o566),
    ],
)
def test_modes(text, before, directory, after):
    assert modes.parse(text)(before, directory) == after


@pytest.mark.parametrize("text", ["", "8", "77777", "u", "x", "u=q", "g=u", "u=rw,", "-1"])
def test_what_is_no_mode(text):
    with pytest.raises(InvalidArgument):
        modes.parse(text)
