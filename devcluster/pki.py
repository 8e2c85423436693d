"""Certificates of a throw-away cluster: one authority per trust domain, and what it signs."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=3650)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority kept in a folder; made on first use, read back afterwards."""

    def __init__(self, name: str, *, folder: Path) -> None:
        """Open the authority `name`, creating its key and certificate if the folder has none."""
        self.folder = folder
        self.pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.pair.certificate.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            subject = _name(name, groups=())
            usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
            builder = (
                _builder(subject, issuer=subject, key=key)
                .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                .add_extension(usage, critical=True)
            )
            _write(self.pair, key=key, certificate=builder.sign(key, hashes.SHA256()))

    def issue(self, file: str, *, name: str, groups: Sequence[str] = (), addresses: Sequence[str] = ()) -> Pair:
        """Return the certificate `file`, signing it for client and server use if it doesn't exist yet.

        `name` and `groups` are what Kubernetes reads as user and groups; `addresses` are DNS names and IP addresses.
        """
        pair = Pair(self.folder / f"{file}.crt", self.folder / f"{file}.key")
        if pair.certificate.exists():
            return pair
        authority = x509.load_pem_x509_certificate(self.pair.certificate.read_bytes())
        signing = serialization.load_pem_private_key(self.pair.key.read_bytes(), password=None)
        assert isinstance(signing, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name, groups=groups), issuer=authority.subject, key=key).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        if addresses:
            names = [_general_name(address) for address in addresses]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        _write(pair, key=key, certificate=builder.sign(signing, hashes.SHA256()))
        return pair


def signing_key(folder: Path) -> tuple[Path, Path]:
    """Return (private, public) PEM files of the key that signs service-account tokens, made on first use."""
    private, public = folder / "service-account.key", folder / "service-account.pub"
    if not public.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        _write_private(private, _private_pem(key))
        public.write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    return private, public


def _builder(subject: x509.Name, *, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour back, so that a pod whose clock lags a little still accepts it.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
    )


def _name(common: str, *, groups: Sequence[str]) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # The traditional form ("EC PRIVATE KEY") is the one that every Go component reads as a signing key.
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _write(pair: Pair, *, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    _write_private(pair.key, _private_pem(key))
    # The certificate last: its presence is what says that the pair is whole.
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
