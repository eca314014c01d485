"""Stands in for Ryuk, Testcontainers' reaper: told labels on port 8080, it removes what has them.

Runs within a container of the test's, with the engine's socket mounted. A client that goes away is the sign;
after RYUK_RECONNECTION_TIMEOUT everything goes that it named.
"""

import contextlib
import http.client
import json
import os
import socket
import time
from urllib.parse import quote

ENGINE = "/var/run/docker.sock"


class Engine(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(ENGINE)


def call(method: str, path: str):
    connection = Engine("engine")
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status < 400 or answer.status == 404, data
        return json.loads(data) if data.strip() else None
    finally:
        connection.close()


def remove(label: str) -> None:
    filters = "filters=" + quote(json.dumps({"label": [label]}))
    for container in call("GET", f"/containers/json?all=1&{filters}"):
        call("DELETE", f"/containers/{container['Id']}?force=1&v=1")
    for network in call("GET", f"/networks?{filters}"):
        call("DELETE", f"/networks/{network['Id']}")
    for volume in call("GET", f"/volumes?{filters}")["Volumes"] or []:
        call("DELETE", f"/volumes/{volume['Name']}?force=1")


def main() -> None:
    labels = []
    with socket.create_server(("0.0.0.0", 8080)) as listener:
        print("Started!", flush=True)
        client, _ = listener.accept()
        # A client that is killed before it read our answers resets the connection.
        with client, client.makefile() as lines, contextlib.suppress(ConnectionResetError):
            for line in lines:
                labels.append(line.strip().partition("=")[2])
                client.sendall(b"ACK\n")
    time.sleep(float(os.environ["RYUK_RECONNECTION_TIMEOUT"].removesuffix("s")))
    for label in labels:
        remove(label)


main()
