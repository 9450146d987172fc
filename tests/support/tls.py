"""A Redis that speaks TLS alone, with certificates made for the occasion."""

from __future__ import annotations

import datetime as dt
import ipaddress
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis
from redis.exceptions import RedisError

from tests.support.redis_server import redis_binaries
from tests.support.wait import wait_for

_Key = ec.EllipticCurvePrivateKey


class Authority:
    """A CA, for an hour; ``path`` is its certificate."""

    def __init__(self, folder: Path, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.path = folder / f"{name}.crt"
        certificate = self._sign(
            self._name, self._key, x509.BasicConstraints(ca=True, path_length=0)
        )
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, folder: Path) -> tuple[Path, Path]:
        """The certificate and key of a server on 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        certificate = self._sign(name, key, x509.SubjectAlternativeName([address]))
        (folder / "server.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / "server.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return folder / "server.crt", folder / "server.key"

    def _sign(self, name: x509.Name, key: _Key, about: x509.ExtensionType) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(about, critical=True)
            .sign(self._key, hashes.SHA256())
        )


class TlsServer:
    """A server on a port of 127.0.0.1 that speaks nothing but TLS; ``ca`` has signed for it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="distflow-test-"))
        self.ca = Authority(self.folder, "ca")
        certificate, key = self.ca.issue(self.folder)
        with socket.create_server(("127.0.0.1", 0)) as door:
            self.port = door.getsockname()[1]
        options = {
            "bind": "127.0.0.1",
            "port": "0",
            "tls-port": str(self.port),
            "tls-cert-file": str(certificate),
            "tls-key-file": str(key),
            "tls-auth-clients": "no",
            "dir": str(self.folder),
            "logfile": str(self.folder / "redis.log"),
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen([redis_binaries()[0], *words])
        wait_for(self._answers, what="the server to answer by TLS")

    def url(self, login: str = "", *, ca: Path | None = None) -> str:
        """Of the server; ``login`` is ``user:password@``."""
        return f"rediss://{login}127.0.0.1:{self.port}/0?ssl_ca_certs={ca or self.ca.path}"

    def close(self) -> None:
        """Kill it and delete what it had."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "redis.log").read_text()
        try:
            with Redis.from_url(self.url()) as client:
                return bool(client.ping())
        except RedisError:
            return False
