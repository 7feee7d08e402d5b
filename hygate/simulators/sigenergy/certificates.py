"""The simulated broker's certificates: an authority, its own, and the client's that the portal would hand out."""

from __future__ import annotations

import ipaddress
import json
import ssl
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LASTS = timedelta(days=3650)
Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Certificates:
    """PEM texts. Hygate needs ``ca_pem``, ``client_pem`` and ``client_key_pem``."""

    ca_pem: str
    broker_pem: str
    broker_key_pem: str
    client_pem: str
    client_key_pem: str

    @classmethod
    def made(cls, *, client_from: datetime | None = None, client_until: datetime | None = None) -> Certificates:
        """New ones; the client's may be given another time in which it holds."""
        now = datetime.now(UTC)
        begins, ends = now - timedelta(days=1), now + LASTS
        ca_key, broker_key, client_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        ca_name = _name("Simulated Sigenergy authority")
        ca = _begun(ca_name, ca_key, begins, ends).issuer_name(ca_name)
        ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        broker = _begun(_name("localhost"), broker_key, begins, ends).issuer_name(ca_name)
        here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        broker = broker.add_extension(x509.SubjectAlternativeName(here), critical=False)
        client = _begun(_name("app key"), client_key, client_from or begins, client_until or ends).issuer_name(ca_name)
        signed = [_pem(one.sign(ca_key, hashes.SHA256())) for one in (ca, broker, client)]
        return cls(signed[0], signed[1], _key_pem(broker_key), signed[2], _key_pem(client_key))

    @classmethod
    def kept(cls, file: Path) -> Certificates:
        """Those of ``file``; made and written there (readable by its owner alone) the first time."""
        if file.exists():
            return cls(**json.loads(file.read_text()))
        made = cls.made()
        file.touch(mode=0o600)
        file.write_text(json.dumps(asdict(made)))
        return made

    def broker_context(self) -> ssl.SSLContext:
        """TLS that shows the broker's certificate and turns away whoever shows none of this authority."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=self.ca_pem)
        context.verify_mode = ssl.CERT_REQUIRED
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(self.broker_pem + self.broker_key_pem)
            file.flush()
            context.load_cert_chain(file.name)
        return context


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _begun(subject: x509.Name, key: Key, begins: datetime, ends: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: Key) -> str:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
