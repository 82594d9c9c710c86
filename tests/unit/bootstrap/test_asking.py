"""Requests to registries: proxies, certificates, and servers that do not answer."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from scripted import scripted

from quorate.bootstrap.asking import Asker, NoAnswer, RegistryDown


def test_a_proxy_is_asked_for_the_whole_url() -> None:
    """With its user, and not with the environment's proxy."""
    with scripted() as proxy:
        proxy.answers = [(200, b"{}")]
        asker = Asker("http://registry.example:4001/v2", 1.0,
                      f"http://me:s%40crt@127.0.0.1:{proxy.port}")

        assert asker.ask("GET", "/v2/keys/t", 1.0).body == b"{}"
        assert proxy.asked == ["GET http://registry.example:4001/v2/keys/t"]
        assert proxy.headers["Host"] == "registry.example:4001"
        assert proxy.headers["Proxy-Authorization"] == "Basic bWU6c0BjcnQ="


def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with etcd."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with scripted() as server:
        server.answers = [(200, b"{}")]

        assert Asker(f"http://127.0.0.1:{server.port}", 1.0).ask("GET", "/", 1.0).status == 200


def test_nobody_and_silence_are_told_apart() -> None:
    """Only what was taken may have been done."""
    with pytest.raises(RegistryDown, match="refused"):
        Asker("http://127.0.0.1:1", 1.0).ask("GET", "/", 1.0)
    with scripted() as server:
        server.answers = [(200, None)]

        with pytest.raises(NoAnswer, match=r"no answer within 0\.05 s"):
            Asker(f"http://127.0.0.1:{server.port}", 1.0).ask("GET", "/", 0.05)


def test_what_is_not_http_is_told() -> None:
    """As anything else that may end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(RegistryDown, match="SSH"):
            Asker(f"http://127.0.0.1:{listener.getsockname()[1]}", 1.0).ask("GET", "/", 1.0)
        thread.join()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_https_is_checked_against_this_machines_authorities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that nobody signed is refused, and taken when it is an authority itself; a
    proxy is asked for a tunnel."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out",
         str(cert)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with scripted(context) as server, scripted() as proxy:
        server.answers, proxy.answers = [(200, b"{}")], [(403, b"")]
        url = f"https://localhost:{server.port}"

        with pytest.raises(RegistryDown, match="certificate verify failed"):
            Asker(url, 1.0).ask("GET", "/", 1.0)
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        assert Asker(url, 1.0).ask("GET", "/", 1.0).status == 200
        with pytest.raises(RegistryDown, match="403"):
            Asker(url, 1.0, f"http://127.0.0.1:{proxy.port}").ask("GET", "/", 1.0)
        assert proxy.asked == [f"CONNECT localhost:{server.port}"]
