"""A local authority, made once, and the certificate it gives to this installation."""

from __future__ import annotations

import datetime
import socket
import ssl
import stat
import threading

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from extproc.errors import ConfigError
from extproc.supervisor import certificates

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def leaf(files):
    return x509.load_pem_x509_certificates(files.certificate.read_bytes())[0]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def handshake(files, name, trusted):
    """The version that a strict client and a server with these files agree on."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.private_key)
    client = ssl.create_default_context(cafile=trusted)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            connection, _ = listening.accept()
            with connection, server.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1)

        answering = threading.Thread(target=answer)
        answering.start()
        with socket.create_connection(listening.getsockname()) as plain:
            try:
                with client.wrap_socket(plain, server_hostname=name) as secured:
                    secured.send(b"x")
                    return secured.version()
            finally:
                plain.close()
                answering.join()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "gateway.example"])
def test_a_strict_client_that_trusts_the_authority_trusts_every_name_of_the_machine(tmp_path, name):
    files = certificates.ensure(tmp_path / "tls", "gateway.example", NOW)

    assert handshake(files, name, files.authority) == "TLSv1.3"


def test_keys_are_for_their_owner_only(tmp_path):
    certificates.ensure(tmp_path / "tls", "gateway", NOW)

    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    for path in (tmp_path / "tls").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_leaf_may_serve_and_nothing_else(tmp_path):
    extensions = leaf(certificates.ensure(tmp_path / "tls", "gateway", NOW)).extensions

    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_the_authority_may_not_make_others(tmp_path):
    files = certificates.ensure(tmp_path / "tls", "gateway", NOW)
    authority = x509.load_pem_x509_certificate(files.authority.read_bytes())

    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_both_are_used_again_at_the_next_start(tmp_path):
    certificates.ensure(tmp_path / "tls", "gateway", NOW)
    first = contents(tmp_path / "tls")

    certificates.ensure(tmp_path / "tls", "gateway", NOW + 30 * DAY)

    assert contents(tmp_path / "tls") == first


@pytest.mark.parametrize(
    ("days", "hostname"), [(368, "gateway"), (0, "another")], ids=["a month is left", "another name of the machine"]
)
def test_the_leaf_is_renewed_and_the_authority_stays(tmp_path, days, hostname):
    files = certificates.ensure(tmp_path / "tls", "gateway", NOW)
    first = contents(tmp_path / "tls")

    certificates.ensure(tmp_path / "tls", hostname, NOW + days * DAY)
    second = contents(tmp_path / "tls")

    assert (second["ca.pem"], second["ca-key.pem"]) == (first["ca.pem"], first["ca-key.pem"])
    assert second["cert.pem"] != first["cert.pem"]
    assert leaf(files).not_valid_after_utc > NOW + (days + 300) * DAY


@pytest.mark.parametrize("lost", ["cert.pem", "key.pem"])
def test_half_a_leaf_is_replaced_as_after_a_crash_between_two_writes(tmp_path, lost):
    files = certificates.ensure(tmp_path / "tls", "gateway", NOW)
    (tmp_path / "tls" / lost).unlink()

    certificates.ensure(tmp_path / "tls", "gateway", NOW)

    assert handshake(files, "localhost", files.authority)


def test_a_leaf_of_another_authority_is_replaced(tmp_path):
    files = certificates.ensure(tmp_path / "tls", "gateway", NOW)
    foreign = certificates.ensure(tmp_path / "foreign", "gateway", NOW)
    files.certificate.write_bytes(foreign.certificate.read_bytes())
    files.private_key.write_bytes(foreign.private_key.read_bytes())

    certificates.ensure(tmp_path / "tls", "gateway", NOW)

    assert handshake(files, "localhost", files.authority)


@pytest.mark.parametrize("damaged", ["ca.pem", "ca-key.pem"])
def test_a_damaged_authority_is_for_the_operator_to_replace(tmp_path, damaged):
    certificates.ensure(tmp_path / "tls", "gateway", NOW)
    (tmp_path / "tls" / damaged).write_bytes(b"damaged")
    before = contents(tmp_path / "tls")

    with pytest.raises(ConfigError, match=r"is damaged; remove .* to make a new one"):
        certificates.ensure(tmp_path / "tls", "gateway", NOW)
    assert contents(tmp_path / "tls") == before


def test_certificates_of_the_operator_are_taken_as_they_are(tmp_path):
    own = certificates.ensure(tmp_path / "own", "gateway", NOW)

    files = certificates.supplied(own.certificate, own.private_key, NOW)

    assert (files.certificate, files.private_key) == (own.certificate, own.private_key)
    assert files.authority is None


def test_files_that_do_not_fit_together_are_refused(tmp_path):
    one = certificates.ensure(tmp_path / "one", "gateway", NOW)
    two = certificates.ensure(tmp_path / "two", "gateway", NOW)

    with pytest.raises(ConfigError, match="do not fit together"):
        certificates.supplied(one.certificate, two.private_key, NOW)


def test_a_certificate_that_is_over_is_refused(tmp_path):
    own = certificates.ensure(tmp_path / "own", "gateway", NOW - 400 * DAY)

    with pytest.raises(ConfigError, match=r"cert\.pem expired on \d{4}-\d\d-\d\d"):
        certificates.supplied(own.certificate, own.private_key, NOW)


def test_a_certificate_whose_time_has_not_come_is_refused(tmp_path):
    own = certificates.ensure(tmp_path / "own", "gateway", NOW + 2 * DAY)

    with pytest.raises(ConfigError, match=r"cert\.pem is not valid before \d{4}-\d\d-\d\d"):
        certificates.supplied(own.certificate, own.private_key, NOW)


def test_the_file_that_is_missing_is_named(tmp_path):
    own = certificates.ensure(tmp_path / "own", "gateway", NOW)

    with pytest.raises(ConfigError, match=r"there is no file .*/nowhere"):
        certificates.supplied(tmp_path / "nowhere", own.private_key, NOW)
    with pytest.raises(ConfigError, match=r"there is no file .*/nowhere"):
        certificates.supplied(own.certificate, tmp_path / "nowhere", NOW)


def test_foreign_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("no certificate")

    with pytest.raises(ConfigError, match="do not fit together"):
        certificates.supplied(tmp_path / "text", tmp_path / "text", NOW)
