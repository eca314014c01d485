"""docker's command sees on onggid what it saw on dockerd: 600 lines against recorded answers."""

import tempfile
from pathlib import Path

from conformance.docker_cli import differences, on_onggid, portable, read_script, recorded

TRIES = 3


def test_dockers_command_prints_what_it_printed_with_dockerd():
    """Wrong is a line that differs each time: ages, rates and the order of events differ now and then."""
    lines = read_script()
    wrong = {line.text: "" for line in lines}
    for _ in range(TRIES):
        # Not below pytest's long names: this engine, too, has paths of its own to show.
        with tempfile.TemporaryDirectory(prefix="lines-") as directory:
            seen = on_onggid(["docker"], Path(directory), lines)
        found = differences("differs", portable(lines), recorded(), seen)
        wrong = {
            line.text: text for line, reason, text in found if _is_wrong(reason, text) and line.text in wrong
        }
        if not wrong:
            return
    raise AssertionError("\n\n".join(f"{line}\n{text}" for line, text in wrong.items()))


def _is_wrong(reason, text):
    return bool(reason) != bool(text)
