"""A local certificate authority and the certificate it gave to this installation, made once and used again.

In the directory: `ca.pem` (what clients trust) with `ca-key.pem`, and `cert.pem` (the leaf, then the authority) with
`key.pem`. EC P-256, keys mode 0600. The authority lasts ten years and is never replaced while it can be read, because
clients were told to trust it; the leaf lasts 397 days and is renewed at a start when a month or less is left, when it
does not cover the machine's present names, or when it does not fit its key or its authority.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from extproc.errors import ConfigError
from extproc.supervisor import private_files

CA_LIFE = datetime.timedelta(days=3652)
LEAF_LIFE = datetime.timedelta(days=397)
RENEW_BEFORE = datetime.timedelta(days=30)
#: Clocks of clients may be behind ours.
BACKDATED = datetime.timedelta(hours=1)
MAX_PEM_BYTES = 64 * 1024
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class Certificates(msgspec.Struct, frozen=True):
    """PEM files. `authority` is what a client must trust, `None` where the operator brought the certificate."""

    certificate: Path
    private_key: Path
    authority: Path | None


class _Identity(msgspec.Struct, frozen=True):
    """A certificate and the key it speaks for."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def paths(folder: Path) -> Certificates:
    """Where the files of the local authority are, made already or not."""
    return Certificates(folder / "cert.pem", folder / "key.pem", folder / "ca.pem")


def ensure(folder: Path, hostname: str, now: datetime.datetime) -> Certificates:
    """A valid certificate for this machine in `folder`; made or renewed where needed.

    Raises `ConfigError` where the authority's files are damaged: only the operator may decide to replace what clients
    trust.
    """
    private_files.directory(folder)
    files = paths(folder)
    names = tuple(dict.fromkeys((*LOCAL_NAMES, hostname)))
    try:
        authority = _authority(folder, now)
        if not _is_good(files, authority, names, now):
            _issue(files, authority, names, now)
    except OSError as error:
        raise ConfigError(f"certificates cannot be kept in {folder}: {error.strerror}") from None
    return files


def supplied(certificate: Path, private_key: Path, now: datetime.datetime) -> Certificates:
    """The operator's own files, read once to be sure. Raises `ConfigError` where they could not serve."""
    for file in (certificate, private_key):
        if not file.is_file():
            raise ConfigError(f"there is no file {file}")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, private_key, password=_no_password)
        leaf = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except ssl.SSLError as error:
        raise ConfigError(f"{certificate} and {private_key} do not fit together: {error.reason or 'not PEM'}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{certificate} with {private_key} cannot be used: {_why(error)}") from None
    if leaf.not_valid_after_utc <= now:
        raise ConfigError(f"the certificate {certificate} expired on {leaf.not_valid_after_utc:%Y-%m-%d}")
    if leaf.not_valid_before_utc > now:
        raise ConfigError(f"the certificate {certificate} is not valid before {leaf.not_valid_before_utc:%Y-%m-%d}")
    return Certificates(certificate.absolute(), private_key.absolute(), None)


def _no_password() -> str:
    raise ValueError("the key is protected by a password")


def _why(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _authority(folder: Path, now: datetime.datetime) -> _Identity:
    certificate, key = folder / "ca.pem", folder / "ca-key.pem"
    if not certificate.exists() and not key.exists():
        return _found(folder, now)
    authority = _load(certificate, key)
    if authority is None:
        raise ConfigError(f"the local certificate authority in {folder} is damaged; remove {folder} to make a new one")
    if authority.certificate.not_valid_after_utc - now < LEAF_LIFE:
        return _found(folder, now)
    return authority


def _found(folder: Path, now: datetime.datetime) -> _Identity:
    """A new authority that may sign leaves only. Its name tells two of them apart in a trust store."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"llm-extproc local CA {now:%Y-%m-%d}")])
    builder = _builder(name, name, key.public_key(), now, CA_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    identity = _Identity(_sign(builder, key, key), key)
    _write(identity, folder / "ca.pem", folder / "ca-key.pem", ())
    return identity


def _issue(files: Certificates, authority: _Identity, names: Sequence[str], now: datetime.datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    builder = _builder(subject, authority.certificate.subject, key.public_key(), now, LEAF_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    identity = _Identity(_sign(builder, authority.key, key), key)
    _write(identity, files.certificate, files.private_key, (authority.certificate,))


def _is_good(files: Certificates, authority: _Identity, names: Sequence[str], now: datetime.datetime) -> bool:
    leaf = _load(files.certificate, files.private_key)
    if leaf is None or leaf.certificate.not_valid_after_utc - now <= RENEW_BEFORE:
        return False
    try:
        leaf.certificate.verify_directly_issued_by(authority.certificate)
        covered = leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return all(_general(name) in covered for name in names)


def _load(certificate: Path, private_key: Path) -> _Identity | None:
    """Both files, if they are there, readable as PEM and belong together."""
    try:
        parsed = x509.load_pem_x509_certificate(private_files.read(certificate, MAX_PEM_BYTES)[0])
        key = serialization.load_pem_private_key(private_files.read(private_key, MAX_PEM_BYTES)[0], None)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or parsed.public_key() != key.public_key():
        return None
    return _Identity(parsed, key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    life: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now - BACKDATED + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _sign(
    builder: x509.CertificateBuilder, issuer: ec.EllipticCurvePrivateKey, subject: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """Strict verifiers (Python 3.13's default) want to be told the issuer's key, unless it signs itself."""
    if issuer is not subject:
        known = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
        builder = builder.add_extension(known, critical=False)
    return builder.sign(issuer, hashes.SHA256())


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(identity: _Identity, certificate: Path, private_key: Path, chain: Sequence[x509.Certificate]) -> None:
    """The key first: a crash between the two leaves a pair that does not fit, which the next start notices."""
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    private_files.write(private_key, identity.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    private_files.write(certificate, b"".join(each.public_bytes(pem) for each in (identity.certificate, *chain)))
