"""From a data directory to the places of an installation."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import msgspec
import pytest

from extproc.errors import ConfigError
from extproc.model import Deployment, Upstream
from extproc.settings import Settings
from extproc.supervisor import layout


def build(data_dir, **changes):
    return layout.build(Settings(), data_dir, layout.Ports(**changes))


def settings_with(scheme):
    upstream = Upstream("provider", scheme, "provider.example", 443, "/v1")
    return Settings(deployments=(Deployment("id", "gpt", "openai", "gpt", upstream, "https://provider.example", None),))


def test_nothing_is_made_by_asking_where_things_are(tmp_path):
    build(tmp_path / "data")

    assert list(tmp_path.iterdir()) == []


def test_paths_are_absolute_whatever_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    found = build(Path("data"))

    assert found.data_dir == str(tmp_path / "data")
    assert all(path.is_absolute() for path in layout.sockets_of(found))


def test_a_port_of_zero_leaves_its_listener_out(tmp_path):
    assert build(tmp_path, http=0, https=8443).http_port is None
    assert build(tmp_path, http=4000, https=0).https_port is None


def test_no_port_at_all_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--http-port 0 and --https-port 0 leave nothing to listen on"):
        build(tmp_path, http=0, https=0)


def test_one_port_for_both_listeners_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--http-port and --https-port are both 8443; they must differ"):
        build(tmp_path, http=8443, https=8443)


@pytest.mark.parametrize("address", ["localhost", "", "127.0.0.1:8443", "[::1]"])
def test_an_address_is_a_number(tmp_path, address):
    with pytest.raises(ConfigError, match=r"--https-address must be an IP address, which '.*' is not"):
        build(tmp_path, https_address=address)
    assert build(tmp_path, https_address="::1").https_address == "::1"


def test_plaintext_is_for_loopback_only(tmp_path):
    found = build(tmp_path, https_address="0.0.0.0")

    assert found.http_address == "127.0.0.1"
    assert found.https_address == "0.0.0.0"


def test_a_socket_can_be_bound_however_deep_the_data_directory_is(tmp_path):
    deep = tmp_path / ("deep" * 30) / "data"
    found = build(deep)
    layout.prepare(found)

    for path in layout.sockets_of(found):
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    layout.remove_sockets(found)

    assert not Path(found.admin_socket).parent.exists()


def test_a_deep_data_directory_finds_its_sockets_again_and_another_has_others(tmp_path):
    deep = tmp_path / ("deep" * 30)

    assert layout.socket_directory(deep / "one") == layout.socket_directory(deep / "one")
    assert layout.socket_directory(deep / "one") != layout.socket_directory(deep / "two")


def test_directories_are_for_their_owner_only(tmp_path):
    found = build(tmp_path / "data")
    layout.prepare(found)

    for folder in (Path(found.data_dir), Path(found.admin_socket).parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_socket_directory_that_is_a_link_is_refused(tmp_path):
    """The temporary directory is everybody's: somebody may have put a link where ours would be."""
    found = build(tmp_path / "data")
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "data" / "run").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ConfigError, match="is not a directory of the user who runs extproc"):
        layout.prepare(found)


def test_removing_sockets_leaves_the_files_of_others(tmp_path):
    found = build(tmp_path / "data")
    layout.prepare(found)
    other = Path(found.admin_socket).parent / "other"
    other.write_text("")
    for path in layout.sockets_of(found):
        path.touch()

    layout.remove_sockets(found)

    assert list(other.parent.iterdir()) == [other]


def test_a_trust_store_is_named_only_where_an_upstream_or_a_stored_model_may_want_tls(tmp_path, monkeypatch):
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))

    assert layout.build(settings_with("https"), tmp_path, layout.Ports()).ca_bundle == str(bundle)
    assert layout.build(settings_with("http"), tmp_path, layout.Ports()).ca_bundle == str(bundle)
    without = msgspec.structs.replace(settings_with("http"), store_model_in_db=False)
    assert layout.build(without, tmp_path, layout.Ports()).ca_bundle == ""


def test_without_a_trust_store_only_an_upstream_that_is_configured_is_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "find_ca_bundle", lambda: None)

    assert layout.build(settings_with("http"), tmp_path, layout.Ports()).ca_bundle == ""
    with pytest.raises(ConfigError, match="no certificate authorities found"):
        layout.build(settings_with("https"), tmp_path, layout.Ports())


def test_a_trust_store_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))

    with pytest.raises(ConfigError, match=r"SSL_CERT_FILE names .*nowhere\.pem, which is not a file"):
        layout.build(settings_with("https"), tmp_path, layout.Ports())


def test_every_socket_path_fits_into_its_address(tmp_path):
    for path in layout.sockets_of(build(tmp_path / ("deep" * 30))):
        assert len(os.fsencode(path)) <= 107
