"""A Redis that speaks TLS alone, with certificates made for the occasion."""

from __future__ import annotations

import datetime as dt
import ipaddress
import select
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.redis_server import RedisServer

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

    def issue(self, folder: Path, who: str = "server") -> tuple[Path, Path]:
        """The certificate and key of a server on 127.0.0.1, or of a client there."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)])
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        certificate = self._sign(name, key, x509.SubjectAlternativeName([address]))
        paths = folder / f"{who}.crt", folder / f"{who}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return paths

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
            # Python 3.13 asks for these.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False
            )
            .add_extension(_usage(signs=isinstance(about, x509.BasicConstraints)), critical=True)
            .sign(self._key, hashes.SHA256())
        )


def _usage(*, signs: bool) -> x509.KeyUsage:
    """What a key is for: an authority signs certificates, another makes connections."""
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


class TlsFront:
    """Listens by TLS on a port of 127.0.0.1, and hands on to a unix socket what it is told.

    None of the servers at hand is sure to have been built with TLS.

    Args:
        behind: the socket of the server.
        context: the certificate that it shows, and what it asks of clients.
    """

    def __init__(self, behind: str, context: ssl.SSLContext) -> None:
        self._behind = behind
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._start(self._accept)

    def close(self) -> None:
        """Cut every connection, and take no more."""
        self._closed = True
        # Closing alone would leave the accept of the other thread as it is.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for end in self._ends:
            _shut(end)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()

    def _start(self, target: Callable[..., None], *args: socket.socket) -> None:
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while not self._closed:
            with suppress(OSError):
                plain, _address = self._listener.accept()
                self._start(self._greet, plain)

    def _greet(self, plain: socket.socket) -> None:
        near = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._ends.append(near)
        try:
            near.do_handshake()
        except OSError:
            # What the client has said meanwhile is read: else the kernel cuts the connection, and
            # with it why it was refused.
            with suppress(OSError):
                near.shutdown(socket.SHUT_WR)
                while near.recv(1 << 16):
                    pass
            _shut(near)
            return
        far = socket.socket(socket.AF_UNIX)
        self._ends.append(far)
        far.connect(self._behind)
        with suppress(OSError):
            _relay(near, far)
        _shut(near)
        _shut(far)


def _relay(near: ssl.SSLSocket, far: socket.socket) -> None:
    """Hand on what comes until one side ends; by one thread, since TLS wants no two at once."""
    near.setblocking(False)
    while True:
        ready, _, _ = select.select([near, far], [], [])
        if near in ready:
            # What TLS has read already, select does not see.
            with suppress(ssl.SSLWantReadError):
                while True:
                    told = near.recv(1 << 16)
                    if not told:
                        return
                    far.sendall(told)
        if far in ready:
            answer = far.recv(1 << 16)
            if not answer:
                return
            _send(near, answer)


def _send(near: ssl.SSLSocket, answer: bytes) -> None:
    while answer:
        try:
            answer = answer[near.send(answer) :]
        except ssl.SSLWantWriteError:
            select.select([], [near], [])
        except ssl.SSLWantReadError:
            select.select([near], [], [])


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        # Of the socket below: the thread that serves it may be at its TLS.
        socket.socket.shutdown(end, socket.SHUT_RDWR)


class TlsServer:
    """A server that is reached by TLS alone, on a port of 127.0.0.1; ``ca`` has signed for it.

    Args:
        ask: whether it demands a certificate of its clients, of the same CA.
    """

    def __init__(self, *, ask: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="distflow-test-"))
        self.ca = Authority(self.folder, "ca")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca.path)
        context.load_cert_chain(*self.ca.issue(self.folder))
        context.verify_mode = ssl.CERT_REQUIRED if ask else ssl.CERT_NONE
        self._server = RedisServer()
        self._front = TlsFront(self._server.url.removeprefix("unix://"), context)
        self.port = self._front.port

    def url(self, login: str = "", *, ca: Path | None = None) -> str:
        """Of the server; ``login`` is ``user:password@``."""
        return f"rediss://{login}127.0.0.1:{self.port}/0?ssl_ca_certs={ca or self.ca.path}"

    def close(self) -> None:
        """End it and delete what it had."""
        self._front.close()
        self._server.close()
        shutil.rmtree(self.folder)
