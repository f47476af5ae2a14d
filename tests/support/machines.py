"""Three servers behind nginx on one machine, configured as in deploy/."""

import json
import os
import re
import socket
import ssl
import subprocess
import time
from contextlib import closing, suppress
from datetime import timedelta
from http.client import HTTPConnection, HTTPSConnection
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.data.types import utcnow
from support.api import API, PASSWORD
from support.programs import tool
from support.serving import BIN, ROOT, WITH_THINGS, environment, free_port, wait_until_ready


class Cluster:
    """Three servers behind nginx."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.ports = [free_port() for _ in range(3)]
        self.servers = [self.start(port) for port in self.ports]
        make_certificate(folder)
        self.port = free_port()
        self.trust = ssl.create_default_context(cafile=folder / "fullchain.pem")

    def start(self, port: int) -> subprocess.Popen[bytes]:
        """Start a server in a process group, so that a test can kill all of it."""
        settings = {"DATABASE_URL": self.url, "PORT": str(port), "TRUSTED_PROXIES": "1", "DRAIN_SECONDS": "2"}
        env = environment(APP_ENV="testing", WEB_CONCURRENCY="1", **settings)
        with (self.folder / "servers.log").open("a") as log:
            return subprocess.Popen(
                [BIN / "gunicorn", WITH_THINGS], cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True
            )

    def wait_for_drain(self, number: int) -> None:
        """Wait until a stopping server reports that it is not ready."""
        answer: tuple[int, dict[str, Any]] = (200, {})
        while answer[0] == 200:
            answer = self.direct(number, "GET", "/health/ready")
        assert (answer[0], answer[1]["error"]) == (503, "unavailable")

    def restart(self, number: int) -> None:
        self.servers[number] = self.start(self.ports[number])
        wait_until_ready(self.servers[number], self.ports[number])

    def start_nginx(self) -> subprocess.Popen[bytes]:
        """Start nginx with the deployed configuration, but other addresses, port and folders."""
        own = (ROOT / "deploy" / "nginx.conf").read_text()
        ports = iter(self.ports)
        own = re.sub(r"172\.28\.7\.\d+:8000", lambda _: f"127.0.0.1:{next(ports)}", own)
        own = own.replace(" /tmp/", f" {self.folder}/").replace("/etc/nginx/tls", str(self.folder))
        own = re.sub(r"/dev/std(out|err)", f"{self.folder}/nginx.log", own)
        (self.folder / "nginx.conf").write_text(own.replace("listen 8443", f"listen 127.0.0.1:{self.port}"))
        orders = "daemon off;" + ("user root;" if os.geteuid() == 0 else "")
        options = ["-p", str(self.folder), "-c", "nginx.conf", "-e", "nginx.log", "-g", orders]
        return subprocess.Popen([tool("nginx"), *options])

    def client(self, number: int = 1) -> HTTPSConnection:
        """A client with its own address, and so with its own rate limit."""
        source = (f"127.0.0.{number}", 0)
        return HTTPSConnection("127.0.0.1", self.port, context=self.trust, timeout=30, source_address=source)

    def through_nginx(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, Any]]:
        with closing(self.client()) as client:
            return call(client, method, path, body, **headers)

    def direct(
        self, number: int, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        with closing(HTTPConnection("127.0.0.1", self.ports[number], timeout=30)) as client:
            return call(client, method, path, body, **headers)

    def sign_up(self, username: str) -> dict[str, Any]:
        status, tokens = self.through_nginx(
            "POST", f"{API}/auth/register", {"username": username, "password": PASSWORD}
        )
        assert status == 201
        return tokens


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(200):
        assert process.poll() is None
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    pytest.fail("nginx does not listen")


def make_certificate(folder: Path) -> None:
    """Write a self-signed certificate and its key for nginx."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "latchkey")])
    now, hour, address = utcnow(), timedelta(hours=1), x509.IPAddress(ip_address("127.0.0.1"))
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - hour, now + hour)
    builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    pem, form, unlocked = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "privkey.pem").write_bytes(key.private_bytes(pem, form, unlocked))


def call(
    client: HTTPConnection, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, dict[str, Any]]:
    """Send a request, and return the status and the JSON body."""
    client.request(
        method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"} | headers
    )
    response = client.getresponse()
    return response.status, json.loads(response.read())
