"""Debian's docker-registry in a directory of the test's own, on loopback: nobody here wrote it."""

import socket
import subprocess
import threading
from pathlib import Path

from engines import DEADLINE_S, wait_until

TLS = Path(__file__).parent / "unit/tls"
PASSWORDS = "kim:$2y$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n"  # bcrypt of s3cret

CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}", relativeurls: {relative}, {tls}}}
{auth}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


class DockerRegistry:
    """One registry process. With ``passwords`` only kim with the password s3cret may use it."""

    def __init__(
        self, directory: Path, *, tls: bool = False, passwords: bool = False, relative: bool = False
    ):
        directory.mkdir(parents=True)
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        (directory / "htpasswd").write_text(PASSWORDS)
        auth = f"auth: {{htpasswd: {{realm: here, path: {directory / 'htpasswd'}}}}}" if passwords else ""
        certificate = TLS / "server.pem"
        text = CONFIG.format(
            root=directory / "data",
            port=self.port,
            relative=str(relative).lower(),
            tls=f"tls: {{certificate: {certificate}, key: {certificate}}}" if tls else "",
            auth=auth,
        )
        (directory / "config.yml").write_text(text)
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["docker-registry", "serve", directory / "config.yml"], stdout=log, stderr=log
            )
        try:
            self._wait(directory / "log")
        except BaseException:
            self.close()
            raise

    def _wait(self, log: Path) -> None:
        wait_until(lambda: listens(self.port) or self.process.poll() is not None, "docker-registry listens")
        assert self.process.poll() is None, log.read_text()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)


class Cutter:
    """A relay that cuts lines: ``budgets`` are bytes from the client, one for each line, then no limit."""

    def __init__(self, target: int, budgets: list[int]):
        self.target, self.budgets = target, budgets
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.lines = 0
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(DEADLINE_S)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.lines += 1
            server = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self._pump, args=(server, client, None), daemon=True).start()
            threading.Thread(target=self._pump, args=(client, server, self.budgets), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, budgets: list[int] | None) -> None:
        """Copy; a line that has brought more than the next budget is cut on both sides."""
        copied = 0
        try:
            while data := source.recv(16384):
                copied += len(data)
                if budgets and copied > budgets[0]:
                    budgets.pop(0)
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
