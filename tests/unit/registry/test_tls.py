"""Who is spoken to without verified TLS (nobody who is not named), certificates by host, and proxies."""

import base64
import socket
import ssl
import threading

import pytest
from fake_registry import TLS, Reply, silent_port

from onggi.errors import InvalidArgument, Unavailable, Unsupported
from onggi.registry import tls
from onggi.registry.failures import Unreachable
from onggi.registry.proxies import Proxies


def test_cve_2014_5277_a_registry_without_tls_gets_nothing(registries, opened, strict):
    """Not even the path: a secure registry is spoken to by TLS or not at all."""
    plain = registries()
    plain.add_image("library/thing", [b"layer"])
    with pytest.raises(Unreachable) as failed:
        opened(plain.host).resolve()
    assert (
        str(failed.value)
        == f'Get "https://{plain.host}/v2/": http: server gave HTTP response to HTTPS client'
    )
    assert not plain.calls


def test_cve_2014_5277_a_tls_failure_does_not_lead_to_http(opened, strict):
    """Whatever the other side does in the handshake, no byte of HTTP follows it."""
    heard = []
    for answer in (b"", b"\x15\x03\x01\x00\x02\x02\x28", b"HTTP/1.1 200 OK\r\n\r\n", b"\x00" * 64):
        listener, port = silent_port()

        def serve(listener=listener, answer=answer):
            for _ in range(5):
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    heard.append(connection.recv(65536)[:1])
                    connection.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        with pytest.raises(Unavailable, match=f'Get "https://127.0.0.1:{port}/v2/"'):
            opened(f"127.0.0.1:{port}").resolve()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.join(30)
    assert heard
    assert set(heard) == {b"\x16"}  # handshakes, all of them


def paths_to(file):
    return ssl.DefaultVerifyPaths(str(file) if file else None, None, "", "", "", "")


def test_cve_2025_6032_an_unknown_authority_is_refused(registries, opened, strict, monkeypatch):
    fake = registries(tls=True)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths_to(TLS / "ca.pem"))
    with pytest.raises(Unreachable) as failed:
        opened(fake.host).resolve()
    words = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    assert str(failed.value) == f'Get "https://{fake.host}/v2/": {words}'
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths_to(None))
    with pytest.raises(Unreachable, match="install ca-certificates"):
        opened(fake.host).resolve()
    assert not fake.calls


def test_cve_2025_6032_a_certificate_of_another_host_is_refused(registries, opened, strict, trusting, names):
    fake = registries(tls=True)
    names["other.example"] = "127.0.0.1"
    host = f"other.example:{fake.port}"
    with pytest.raises(Unreachable, match=r"x509: hostname mismatch"):
        opened(host, cert_dirs=trusting(host)).resolve()
    assert not fake.calls


def test_an_authority_of_ones_own(registries, opened, strict, trusting):
    fake = registries(tls=True)
    digest = fake.add_image("library/thing", [b"layer"])
    with pytest.raises(Unreachable):  # trust is for one host and port
        opened(fake.host, cert_dirs=trusting("127.0.0.1", "127.0.0.1:1")).resolve()
    assert opened(fake.host, cert_dirs=trusting(fake.host)).resolve().digest == digest


def test_loopback_needs_no_verification(registries, opened):
    fake = registries(tls=True)
    digest = fake.add_image("library/thing", [b"layer"])
    assert opened(fake.host).resolve().digest == digest


@pytest.fixture
def picky(registries):
    """A registry that wants a certificate of its clients."""
    fake = registries(tls=True)
    context = fake.server.socket.context
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(TLS / "ca.pem")
    fake.add_image("library/thing", [b"layer"])
    return fake


def test_a_certificate_of_a_client(picky, opened, strict, trusting, tmp_path):
    directories = trusting(picky.host)
    with pytest.raises(Unavailable):
        opened(picky.host, cert_dirs=directories).resolve()
    for name in ("client.cert", "client.key"):
        (tmp_path / "certs.d" / picky.host / name).write_bytes((TLS / "client.pem").read_bytes())
    opened(picky.host, cert_dirs=directories).resolve()


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        (["a.cert"], InvalidArgument, "missing key a.key for client certificate a.cert"),
        (["a.key"], InvalidArgument, "missing client certificate a.cert for key a.key"),
        (["a.crt"], InvalidArgument, "unable to read the certificates"),
        (["a.cert", "a.key"], InvalidArgument, "unable to read the certificates"),
        (["a.cert", "a.key", "b.cert", "b.key"], Unsupported, "several client certificates"),
    ],
)
def test_directories_that_are_wrong(tmp_path, files, error, words):
    directory = tmp_path / "registry.example:5000"
    directory.mkdir()
    for name in files:
        (directory / name).write_text("nonsense")
    with pytest.raises(error, match=words):
        tls.context("registry.example:5000", [str(tmp_path)], verify=True)


def test_other_files_do_not_matter(tmp_path):
    directory = tmp_path / "registry.example"
    directory.mkdir()
    (directory / "README").write_text("nonsense")
    assert (
        tls.context("registry.example", [str(tmp_path), "/nowhere"], verify=True).verify_mode
        == ssl.CERT_REQUIRED
    )


@pytest.fixture
def proxy(registries):
    """A proxy: answers plain requests itself, and tunnels the others to where it is told."""
    fake = registries()
    fake.target = None

    def tunnel(call):
        handler = call.handler
        with socket.create_connection(fake.target) as there:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            pump = threading.Thread(target=copy, args=(there, handler.connection), daemon=True)
            pump.start()
            copy(handler.connection, there)
            pump.join(30)
        return Reply(raw=b"")

    fake.on("CONNECT", ".*", tunnel)
    handler = fake.server.RequestHandlerClass
    handler.do_CONNECT = handler.do_GET
    return fake


def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


def test_through_a_proxy(registries, opened, proxy, strict, trusting):
    fake = registries(tls=True)
    digest = fake.add_image("library/thing", [b"layer"])
    proxy.target = ("127.0.0.1", fake.port)
    host = f"registry.example:{fake.port}"
    url = f"http://user:pass@{proxy.host}"
    with pytest.raises(Unreachable, match="hostname mismatch"):  # the proxy's word does not replace TLS
        opened(host, proxies=Proxies(https=url), cert_dirs=trusting(host)).resolve()
    insecure = frozenset({"registry.example"})
    assert opened(host, proxies=Proxies(https=url), insecure_hosts=insecure).resolve().digest == digest
    asked = proxy.seen("CONNECT")[-1].headers
    assert asked["proxy-authorization"] == "Basic " + base64.b64encode(b"user:pass").decode()
    assert not [call for call in fake.calls if "proxy-authorization" in call.headers]


def test_a_plain_registry_through_a_proxy(opened, proxy):
    digest = proxy.add_image("library/thing", [b"layer"])
    insecure = frozenset({"registry.example"})
    proxies = Proxies(http=f"http://{proxy.host}", https="http://127.0.0.1:1")
    assert opened("registry.example", proxies=proxies, insecure_hosts=insecure).resolve().digest == digest
    assert proxy.calls[-1].headers["host"] == "registry.example"


def test_a_proxy_that_refuses(opened, proxy):
    proxy.scripts.clear()
    proxy.on("CONNECT", ".*", Reply(407))
    with pytest.raises(Unavailable, match="407"):
        opened("registry.example", proxies=Proxies(https=f"http://{proxy.host}")).resolve()


def test_a_proxy_that_is_not_there(opened):
    listener, port = silent_port()
    listener.close()
    with pytest.raises(Unreachable, match=f"dial tcp 127.0.0.1:{port}: connect: connection refused"):
        opened("registry.example", proxies=Proxies(https=f"http://127.0.0.1:{port}")).resolve()


def test_a_mirror_may_be_plain_if_it_is_written_so(registries, opened, strict):
    mirror = registries()
    digest = mirror.add_image("library/thing", [b"layer"])
    assert opened("docker.io", mirrors=(mirror.url,)).resolve().digest == digest
    with pytest.raises(Unavailable):
        opened(mirror.host, mirrors=(mirror.url,)).resolve()
