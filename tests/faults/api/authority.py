"""Certificate authorities and server certificates for tests: good, expired, of the future, for another name."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)


class Authority:
    """Signs server certificates; every instance is another authority of the same name."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
        now = dt.datetime.now(dt.UTC)
        self.certificate = (
            self._builder(self.name, self.key.public_key(), now - 30 * DAY, now + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    @property
    def data(self) -> str:
        """Return what a kubeconfig holds as certificate-authority-data."""
        return base64.b64encode(self.certificate.public_bytes(serialization.Encoding.PEM)).decode()

    def server(self, name: str = "127.0.0.1", since: dt.timedelta = -DAY, until: dt.timedelta = DAY) -> ssl.SSLContext:
        """Return a server's TLS context for a name or address, valid from now + since to now + until."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "apiserver")])
        host: x509.GeneralName
        try:
            host = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            host = x509.DNSName(name)
        certificate = (
            self._builder(subject, key.public_key(), now + since, now + until)
            .add_extension(x509.SubjectAlternativeName([host]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "server.pem"
            path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
            context.load_cert_chain(path)
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, since: dt.datetime, until: dt.datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(until)
        )
