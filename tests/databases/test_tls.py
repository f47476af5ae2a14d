"""TLS to the database, with the options of docs/deployment.md."""

import re
import socket
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import OperationalError

from app.data.connections import database_url, engine_options
from support.databases import absent, named_server
from support.machines import make_certificate

DEPLOYMENT = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text()


@pytest.fixture
def authority(tmp_path):
    """An authority that has certified no database."""
    make_certificate(tmp_path)
    return str(tmp_path / "fullchain.pem")


def connect(scheme, server, authority):
    """Connect to the server with the documented options, and our own."""
    [options] = re.findall(rf"^{scheme}://\S+(\?\S+)$", DEPLOYMENT, re.MULTILINE)
    options = re.sub(r"/etc/latchkey/\S+?\.pem", authority, options)
    url = database_url(server.render_as_string(hide_password=False) + options)
    create_engine(url, **engine_options(url, threads=1)).connect().close()


@pytest.fixture
def without_tls():
    """A PostgreSQL server without TLS: its address, the packets that it received, and its thread."""
    received = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse_tls():
            client, _address = listener.accept()
            with client:
                received.append(client.recv(1024))
                client.sendall(b"N")  # "no TLS": the answer to an SSLRequest
                received.append(client.recv(1024))

        thread = Thread(target=refuse_tls)
        thread.start()
        yield make_url(f"postgresql://u:p@127.0.0.1:{listener.getsockname()[1]}/d"), received, thread


def test_postgresql_without_tls_is_refused(without_tls, authority):
    """A server that refuses TLS gets neither the name of the user nor the password."""
    server, received, thread = without_tls

    with pytest.raises(OperationalError, match="SSL was required"):
        connect("postgresql", server, authority)

    thread.join()
    assert received == [b"\0\0\0\x08\x04\xd2\x16\x2f", b""]  # the SSLRequest, and a closed connection


@pytest.mark.skipif(absent("mariadb") is not None, reason="no MariaDB")
def test_an_untrusted_mariadb_is_refused(authority):
    """A server without TLS, or with a certificate of another authority, is refused."""
    with pytest.raises(OperationalError, match=r"SSL is required|certificate verify failed"):
        connect("mysql", make_url(named_server("mariadb")), authority)
