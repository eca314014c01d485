"""The cache of compiled seccomp programs."""

import json
import os

import pytest

from onggi.containers import seccomp
from onggi.errors import InvalidArgument
from onggi.kernel import features
from onggi.kernel import seccomp as compiler

PROFILE = json.dumps(
    {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}
)
NO_CAPS: frozenset[str] = frozenset()


@pytest.fixture
def machine():
    return features.probe()


@pytest.fixture
def compiled(monkeypatch):
    """How often the compiler was asked."""
    calls = []
    original = compiler.compile_profile

    def counting(*arguments):
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(compiler, "compile_profile", counting)
    return calls


def test_a_program_is_compiled_once_for_memory_and_disk(machine, compiled, tmp_path):
    cache = str(tmp_path / "cache")
    programs = seccomp.Programs(machine, cache)
    first = programs(PROFILE, NO_CAPS)
    assert programs(PROFILE, NO_CAPS) is first
    assert seccomp.Programs(machine, cache)(PROFILE, NO_CAPS) == first
    assert len(compiled) == 1
    assert os.stat(cache).st_mode & 0o777 == 0o700


def test_what_a_program_depends_on_makes_another(machine, compiled, tmp_path):
    programs = seccomp.Programs(machine, str(tmp_path))
    programs(PROFILE, NO_CAPS)
    programs(PROFILE, frozenset({"CAP_SYS_ADMIN"}))
    programs(PROFILE + " ", NO_CAPS)
    seccomp.Programs(machine._replace(kernel=(4, 1)), str(tmp_path))(PROFILE, NO_CAPS)
    assert len(compiled) == 4


@pytest.mark.parametrize("damage", [b"", b"x" * 40, None])
def test_a_damaged_file_is_compiled_anew(machine, compiled, tmp_path, damage):
    program = seccomp.program(PROFILE, NO_CAPS, machine, str(tmp_path))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-8] if damage is None else damage)
    assert seccomp.program(PROFILE, NO_CAPS, machine, str(tmp_path)) == program
    assert len(compiled) == 2


def test_no_text_means_dockers_profile(machine, tmp_path):
    with open(seccomp.DEFAULT_PROFILE) as file:
        text = file.read()
    programs = seccomp.Programs(machine, str(tmp_path))
    assert programs("", NO_CAPS) == programs(text, NO_CAPS) != b""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"defaultAction": 5}',
        '{"syscalls": [{"names": "read", "action": "SCMP_ACT_ALLOW"}]}',
        "\ud800",
    ],
)
def test_what_is_no_profile_gets_dockers_words(machine, tmp_path, text):
    with pytest.raises(InvalidArgument, match=r"^Decoding seccomp profile failed"):
        seccomp.program(text, NO_CAPS, machine, str(tmp_path))
    assert not list(tmp_path.iterdir())
