"""Three servers behind nginx, as deploy/ has them, on one machine."""

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
    """Three servers, and nginx before them."""

    def __init__(self, folder, url):
        self.folder, self.url = folder, url
        self.ports = [free_port() for _ in range(3)]
        self.servers = [self.start(port) for port in self.ports]
        make_certificate(folder)
        self.port = free_port()
        self.trust = ssl.create_default_context(cafile=folder / "fullchain.pem")

    def start(self, port):
        """A server that can be killed with all its processes, as by a machine that loses power."""
        settings = {"DATABASE_URL": self.url, "PORT": str(port), "TRUSTED_PROXIES": "1", "DRAIN_SECONDS": "2"}
        env = environment(APP_ENV="testing", WEB_CONCURRENCY="1", **settings)
        with (self.folder / "servers.log").open("a") as log:
            return subprocess.Popen(
                [BIN / "gunicorn", WITH_THINGS], cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True
            )

    def wait_for_drain(self, number):
        """A server that is told to stop says so, and so still answers."""
        answer = (200, {})
        while answer[0] == 200:
            answer = self.direct(number, "GET", "/health/ready")
        assert (answer[0], answer[1]["error"]) == (503, "unavailable")

    def restart(self, number):
        self.servers[number] = self.start(self.ports[number])
        wait_until_ready(self.servers[number], self.ports[number])

    def start_nginx(self):
        """By the configuration that is deployed: only addresses, the port and folders are other ones."""
        own = (ROOT / "deploy" / "nginx.conf").read_text()
        ports = iter(self.ports)
        own = re.sub(r"172\.28\.7\.\d+:8000", lambda _: f"127.0.0.1:{next(ports)}", own)
        own = own.replace(" /tmp/", f" {self.folder}/").replace("/etc/nginx/tls", str(self.folder))
        own = re.sub(r"/dev/std(out|err)", f"{self.folder}/nginx.log", own)
        (self.folder / "nginx.conf").write_text(own.replace("listen 8443", f"listen 127.0.0.1:{self.port}"))
        orders = "daemon off;" + ("user root;" if os.geteuid() == 0 else "")
        options = ["-p", self.folder, "-c", "nginx.conf", "-e", "nginx.log", "-g", orders]
        return subprocess.Popen([tool("nginx"), *options])

    def client(self, number=1):
        """A client at an address of its own, and so with its own share of requests."""
        source = (f"127.0.0.{number}", 0)
        return HTTPSConnection("127.0.0.1", self.port, context=self.trust, timeout=30, source_address=source)

    def through_nginx(self, method, path, body=None, **headers):
        with closing(self.client()) as client:
            return call(client, method, path, body, **headers)

    def direct(self, number, method, path, body=None, **headers):
        with closing(HTTPConnection("127.0.0.1", self.ports[number], timeout=30)) as client:
            return call(client, method, path, body, **headers)

    def sign_up(self, username):
        status, tokens = self.through_nginx(
            "POST", f"{API}/auth/register", {"username": username, "password": PASSWORD}
        )
        assert status == 201
        return tokens


def wait_for_port(process, port):
    for _ in range(200):
        assert process.poll() is None
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    pytest.fail("nginx does not listen")


def make_certificate(folder):
    """What nginx needs to speak TLS, signed by nobody."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "latchkey")])
    now, hour, address = utcnow(), timedelta(hours=1), x509.IPAddress(ip_address("127.0.0.1"))
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - hour, now + hour)
    builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    pem, form, unlocked = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "privkey.pem").write_bytes(key.private_bytes(pem, form, unlocked))


def call(client, method, path, body=None, **headers):
    """The status, and what came back."""
    client.request(
        method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"} | headers
    )
    response = client.getresponse()
    return response.status, json.loads(response.read())
