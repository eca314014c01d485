"""What --install writes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from onggi.daemon import install
from onggi.daemon.config import Config
from onggi.errors import Conflict
from onggi.interpreter import HEAP

CONFIG = Config(data_root="/srv/my data", hosts=("unix:///run/x.sock",), docker_socket=True)


def test_the_unit_keeps_containers_alive() -> None:
    text = install.unit_text(install.command(CONFIG))
    assert "KillMode=process" in text
    assert '"/srv/my data"' in text
    assert "--docker-socket" in text
    assert "Type=notify" in text


def test_the_unit_lets_the_engine_read_what_its_heap_is() -> None:
    lines = install.unit_text(install.command(CONFIG)).splitlines()
    assert "Environment=" + " ".join(f"{name}={value}" for name, value in HEAP.items()) in lines
    assert "TimeoutStartSec=infinity" in lines  # an engine that recovers takes as long as it takes


def test_systemd_words_are_quoted() -> None:
    assert 'ExecStart=a "b c" "%%h" "$$X" "q\\"q"' in install.unit_text(["a", "b c", "%h", "$X", 'q"q'])


def test_the_script_is_sh(tmp_path: Path) -> None:
    script = tmp_path / "onggi"
    script.write_text(install.rc_text(install.command(CONFIG)))
    subprocess.run(["sh", "-n", str(script)], check=True)
    result = subprocess.run(["sh", str(script), "status"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (3, "onggi is not running\n")
    assert subprocess.run(["sh", str(script)], capture_output=True, check=False).returncode == 2


def test_what_fits_the_machine_is_written_once(tmp_path: Path) -> None:
    assert "update-rc.d" in install.install(CONFIG, str(tmp_path))
    assert (tmp_path / "etc/init.d/onggi").stat().st_mode & 0o777 == 0o755
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert "systemctl" in install.install(CONFIG, str(tmp_path))
    assert install.installed(str(tmp_path))
    install.install(CONFIG, str(tmp_path))


def test_a_foreign_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "etc/init.d/onggi"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n# mine\n")
    with pytest.raises(Conflict, match="is not ours"):
        install.install(CONFIG, str(tmp_path))
    assert "mine" in path.read_text()
