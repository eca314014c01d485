"""The embedded registry of a real engine: images by name, pushes that outlive a kill, TLS and passwords."""

import base64
import contextlib
import hashlib
import http.client
import json
import signal
import socket
import ssl
import subprocess
from pathlib import Path

import bcrypt
import pytest

from engines import DEADLINE_S, ONGGI, RealEngine, wait_until
from registries import Refused, serving

TLS = Path(__file__).resolve().parents[1] / "unit/tls"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = b'{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}'


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def accepts(address):
    host, _, port = address.partition(":")
    try:
        with contextlib.suppress(ConnectionResetError):  # it closes while we are in its queue: look again
            socket.create_connection((host, int(port))).close()
    except ConnectionRefusedError:
        return False
    return True


def push(registry, name, tag):
    """Push an image without layers; returns its manifest."""
    status, headers, _ = registry.call("POST", f"/v2/{name}/blobs/uploads/")
    assert status == 202
    location = f"{headers['Location']}?digest={digest_of(CONFIG)}"
    assert registry.call("PUT", location, CONFIG)[0] == 201
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "size": len(CONFIG)}
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config | {"digest": digest_of(CONFIG)},
        "layers": [],
    }
    data = json.dumps(document).encode()
    assert registry.call("PUT", f"/v2/{name}/manifests/{tag}", data, content_type=MANIFEST)[0] == 201
    return data


def test_an_image_is_served_by_its_name(engine):
    with serving(engine) as registry:
        status, headers, data = registry.call("GET", "/v2/library/busybox/manifests/latest")
        assert status == 200
        assert headers["Docker-Content-Digest"] == digest_of(data)
        document = json.loads(data)
        for entry in (document["config"], *document["layers"]):
            status, headers, blob = registry.call("GET", f"/v2/busybox/blobs/{entry['digest']}")
            assert (status, digest_of(blob), len(blob)) == (200, entry["digest"], entry["size"])
        _, headers, part = registry.call("GET", f"/v2/busybox/blobs/{entry['digest']}", range="bytes=10-19")
        assert (part, headers["Content-Range"]) == (blob[10:20], f"bytes 10-19/{len(blob)}")
        assert "busybox" in json.loads(registry.call("GET", "/v2/_catalog")[2])["repositories"]
        assert "GET /v2/library/busybox/manifests/latest" in registry.line()


def test_closing_the_stream_closes_the_port(engine):
    with serving(engine) as registry:
        assert registry.call("GET", "/v2/")[0] == 200
        address = registry.address
        with pytest.raises(Refused, match="address already in use"), serving(engine, Address=address):
            pass
    wait_until(lambda: not accepts(address), "the port to be closed")
    with serving(engine, Address=address) as registry:
        assert registry.call("GET", "/v2/")[0] == 200


def test_read_only(engine):
    with serving(engine, ReadOnly=True) as registry:
        assert registry.call("POST", "/v2/x/blobs/uploads/")[0] == 405


def test_a_port_that_is_taken(engine):
    in_use = r"cannot listen on 127\.0\.0\.1:\d+: address already in use"
    with (
        serving(engine) as first,
        pytest.raises(Refused, match=in_use),
        serving(engine, Address=first.address),
    ):
        pass


def test_beyond_loopback(engine):
    with pytest.raises(Refused, match="without TLS and passwords"), serving(engine, Address="0.0.0.0:0"):
        pass
    with serving(engine, Address="0.0.0.0:0", Insecure=True) as registry:
        assert registry.call("GET", "/v2/", host="images.example")[0] == 200


def test_tls_and_passwords(engine, tmp_path):
    users = tmp_path / "htpasswd"
    users.write_text("ann:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode())
    pem = str(TLS / "server.pem")
    trusted = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
    with serving(engine, Htpasswd=str(users), Certificate=pem, Key=pem) as registry:
        status, headers, _ = registry.call("GET", "/v2/", tls=trusted)
        assert (status, headers["WWW-Authenticate"].split()[0]) == (401, "Basic")
        for password, wanted in (("wrong", 401), ("secret", 200)):
            basic = "Basic " + base64.b64encode(f"ann:{password}".encode()).decode()
            assert registry.call("GET", "/v2/_catalog", tls=trusted, authorization=basic)[0] == wanted
        status, _, said = registry.call("GET", "/v2/")
        assert (status, said) == (400, b"Client sent an HTTP request to an HTTPS server.\n")


def test_a_push_outlives_a_kill(tmp_path):
    engine = RealEngine(tmp_path)
    try:
        engine.start()
        with serving(engine) as registry:
            data = push(registry, "team/app", "1")
            engine.kill()
        engine.start()
        with serving(engine) as registry:
            assert registry.call("GET", "/v2/team/app/manifests/1")[2] == data
            assert registry.call("GET", f"/v2/team/app/blobs/{digest_of(CONFIG)}")[2] == CONFIG
            assert registry.call("DELETE", f"/v2/team/app/manifests/{digest_of(data)}")[0] == 202
            assert json.loads(registry.call("GET", "/v2/team/app/tags/list")[2])["tags"] == []
    finally:
        engine.destroy()


def test_a_mirror_of_a_registry(engine):
    """Both registries of one engine: the mirror goes on when its upstream has closed."""
    with serving(engine) as upstream:
        data = push(upstream, "team/mirrored", "1")
        with serving(engine, Mirror=f"http://{upstream.address}") as mirror:
            assert mirror.call("GET", "/v2/team/mirrored/manifests/1")[2] == data
            assert mirror.call("GET", f"/v2/team/mirrored/blobs/{digest_of(CONFIG)}")[2] == CONFIG
            assert json.loads(mirror.call("GET", "/v2/team/mirrored/tags/list")[2])["tags"] == ["1"]
            assert mirror.call("GET", "/v2/team/mirrored/manifests/2")[0] == 404
            status, _, refusal = mirror.call("POST", "/v2/team/mirrored/blobs/uploads/")
            assert status == 405
            assert f"mirrors http://{upstream.address}" in json.loads(refusal)["errors"][0]["message"]
    address = upstream.address
    wait_until(lambda: not accepts(address), "the upstream to be closed")
    with serving(engine, Mirror=f"http://{address}") as mirror:
        assert mirror.call("GET", "/v2/team/mirrored/manifests/1")[2] == data
        assert mirror.call("GET", f"/v2/team/mirrored/blobs/{digest_of(CONFIG)}")[2] == CONFIG
        assert mirror.call("GET", "/v2/team/mirrored/manifests/2")[0] == 503


def test_a_mirror_that_is_no_url(engine):
    with pytest.raises(Refused, match="invalid mirror"), serving(engine, Mirror="docker.io"):
        pass


def test_by_our_command(engine):
    """``onggi registry serve``; the interrupt that ends it closes the port."""
    command = [*ONGGI, "registry", "serve", "--address", "127.0.0.1:0"]
    with subprocess.Popen(command, env=engine.environment, stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().rpartition("http://")[2].strip()
        host, _, port = address.partition(":")
        with contextlib.closing(
            http.client.HTTPConnection(host, int(port), timeout=DEADLINE_S)
        ) as connection:
            connection.request("GET", "/v2/busybox/tags/list")
            assert json.loads(connection.getresponse().read())["tags"] == ["latest"]
        assert "GET /v2/busybox/tags/list" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
    wait_until(lambda: not accepts(address), "the port to be closed")
