"""docker's command sees on onggid what it saw on dockerd: 600 lines against recorded answers."""

import tempfile
from pathlib import Path

from conformance.docker_cli import differences, on_onggid, portable, read_script, recorded


def test_dockers_command_prints_what_it_printed_with_dockerd():
    lines = read_script()
    # Not below pytest's long names: this engine, too, has paths of its own to show.
    with tempfile.TemporaryDirectory(prefix="lines-") as directory:
        seen = on_onggid(["docker"], Path(directory), lines)
    found = differences("differs", portable(lines), recorded(), seen)
    wrong = [f"{line.text}\n{text}" for line, reason, text in found if bool(reason) != bool(text)]
    assert not wrong, "\n\n".join(wrong)
