"""Detach keys: the client of a run is let go while the container goes on, and others hear of it."""

import json
import time

from private_calls import frame, upgraded

ROWS = {"rows": 24, "cols": 80}


def run_attached(engine, keys):
    """Upgrade to a private run with a terminal; its socket, behind the early status frame."""
    config = {"Image": "busybox", "Cmd": ["cat"], "Tty": True, "OpenStdin": True}
    config["HostConfig"] = {"NetworkMode": "none"}
    body = {"Config": config, "Attach": {"Stdin": True, "Tty": ROWS, "DetachKeys": keys}, "Wait": True}
    sock, stream = upgraded(engine, "/onggi/v1/run", body)
    kind, payload = frame(stream)
    assert kind == 5
    return sock, stream, json.loads(payload)["Id"]


def events_of(client, container):
    """Actions so far."""
    now = int(time.time()) + 1
    filters = {"container": container}
    return [event["Action"] for event in client.events(since=1, until=now, filters=filters, decode=True)]


def test_a_client_that_detaches_is_let_go_and_the_container_goes_on(engine):
    sock, stream, container = run_attached(engine, "ctrl-p,ctrl-q")
    try:
        sock.sendall(b"first\n")
        while b"first" not in frame(stream)[1]:
            pass
        sock.sendall(b"\x10\x11")
        while frame(stream) is not None:
            pass  # ends only when the engine's copy of the socket is closed too
        client = engine.client()
        assert client.containers.get(container).status == "running"
        seen = events_of(client, container)
        assert "detach" in seen
    finally:
        stream.close()
        sock.close()
        engine.docker("rm", "-f", container, check=True)
