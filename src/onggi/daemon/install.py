"""``--install``: what starts the engine at boot, as text, and where it goes."""

from __future__ import annotations

import os
import shlex

from onggi.daemon.config import DEFAULT_FILE, Config
from onggi.errors import Conflict, KernelError
from onggi.interpreter import HEAP, engine_command
from onggi.kernel.files import write_atomic

UNIT_PATH = "/etc/systemd/system/onggi.service"
RC_PATH = "/etc/init.d/onggi"
_MARK = "Written by onggi daemon --install"


def has_systemd(root: str = "/") -> bool:
    """Whether systemd runs here (sd_booted(3))."""
    return os.path.isdir(os.path.join(root, "run/systemd/system"))


def installed(root: str = "/") -> bool:
    """Whether something starts the engine at boot."""
    return any(os.path.exists(root.rstrip("/") + path) for path in (UNIT_PATH, RC_PATH))


def command(config: Config) -> list[str]:
    """The command line that serves with this configuration."""
    argv = engine_command("--data-root", config.data_root, "--exec-root", config.exec_root)
    argv += ["--cgroup-parent", config.cgroup_parent]
    argv += [word for host in config.hosts for word in ("--host", host)]
    argv += ["--docker-socket"] if config.docker_socket else []
    argv += [f"--group={config.group}"] if config.group else []
    if config.tls:
        files = zip(("tlscacert", "tlscert", "tlskey"), config.tls, strict=True)
        argv += ["--tlsverify", *(f"--{name}={path}" for name, path in files)]
    argv += [f"--metrics-addr={config.metrics_address}"] if config.metrics_address else []
    argv += ["--config-file", config.config_file] if config.config_file not in ("", DEFAULT_FILE) else []
    return argv


def unit_text(argv: list[str]) -> str:
    """A systemd unit. Containers outlive the service, so only its main process is ended."""
    return f"""\
# {_MARK}
[Unit]
Description=Onggi container engine
After=network-online.target local-fs.target
Wants=network-online.target

[Service]
Type=notify
ExecStart={" ".join(map(_systemd_quote, argv))}
Environment={" ".join(f"{name}={value}" for name, value in HEAP.items())}
TimeoutStartSec=infinity
ExecReload=/bin/kill -HUP $MAINPID
KillMode=process
Delegate=yes
Restart=always
RestartSec=1
LimitNOFILE=1048576
TasksMax=infinity
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
"""


def rc_text(argv: list[str]) -> str:
    """An init script with LSB header for machines without systemd."""
    words = " ".join(map(shlex.quote, argv))
    return f"""\
#!/bin/sh
# {_MARK}
### BEGIN INIT INFO
# Provides:          onggi
# Required-Start:    $local_fs $network
# Required-Stop:     $local_fs
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: Onggi container engine
### END INIT INFO
pidfile=/run/onggi.pid
running() {{ [ -s "$pidfile" ] && kill -0 "$(cat "$pidfile")" 2>/dev/null; }}
case "$1" in
start)
    running || {words} --pidfile "$pidfile" --detach
    ;;
stop)
    if running; then kill "$(cat "$pidfile")"; fi
    ;;
restart)
    "$0" stop
    while running; do sleep 1; done
    "$0" start
    ;;
status)
    if running; then echo "onggi is running"; else echo "onggi is not running"; exit 3; fi
    ;;
*)
    echo "usage: $0 start|stop|restart|status" >&2
    exit 2
    ;;
esac
"""


def install(config: Config, root: str = "/") -> str:
    """Write the unit or script below ``root``; returns what to do next. A foreign file is not overwritten."""
    argv = command(config)
    systemd = has_systemd(root)
    name, text, mode = (UNIT_PATH, unit_text(argv), 0o644) if systemd else (RC_PATH, rc_text(argv), 0o755)
    path = root.rstrip("/") + name
    _refuse_foreign(path)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_atomic(path, text.encode(), mode)
    except OSError as error:
        raise KernelError("write", error.errno or 0, path) from None
    following = "systemctl daemon-reload && systemctl enable --now onggi"
    if not systemd:
        following = f"update-rc.d onggi defaults && {name} start"
    return f"wrote {path}\nnext: {following}\n"


def _refuse_foreign(path: str) -> None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            if _MARK not in file.read(4096):
                raise Conflict(f"{path} exists and is not ours: move it away first")
    except FileNotFoundError:
        return


def _systemd_quote(word: str) -> str:
    """systemd.service(5) "Command lines": C-like quotes, % and $ doubled."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if not word.isalnum() else word
