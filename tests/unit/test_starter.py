"""The starter `./onggi` and the scripts beside it: what can be said of them without running them."""

import hashlib
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ["onggi", "onggi-runtime", "check", "scripts/setup.sh"]


def test_environment_is_named_after_its_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    digest = hashlib.sha256("\n".join(project["dependencies"]).encode()).hexdigest()
    assert f"\nenvironment={digest[:8]} " in (ROOT / "onggi").read_text()


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_plain_sh(script):
    checked = subprocess.run(["sh", "-n", ROOT / script], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("script", [name for name in SCRIPTS if not name.endswith(".sh")])
def test_commands_can_be_run(script):
    assert (ROOT / script).stat().st_mode & 0o111 == 0o111
