"""Ports are asked for before anything starts."""

from __future__ import annotations

import socket

import pytest
from running_envoy import free_port

from extproc.errors import ConfigError
from extproc.settings import Settings
from extproc.supervisor import layout, ports


@pytest.fixture
def taken():
    """A port that somebody listens on, as Envoy does: with SO_REUSEPORT."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def place(tmp_path, **changes):
    return layout.build(Settings(), tmp_path, layout.Ports(https_address="127.0.0.1", **changes))


def test_free_ports_are_fine(tmp_path):
    ports.check(place(tmp_path, http=free_port(), https=free_port()))


@pytest.mark.parametrize("name", ["http", "https"])
def test_a_taken_port_is_refused_with_the_option_that_helps(tmp_path, taken, name):
    chosen = {"http": 0, "https": 0} | {name: taken}

    with pytest.raises(ConfigError) as refused:
        ports.check(place(tmp_path, **chosen))

    assert str(refused.value) == f"port {taken} is taken by another program; choose another one with --{name}-port"


def test_a_port_that_is_left_out_is_not_asked_for(tmp_path):
    ports.check(place(tmp_path, http=0, https=free_port()))
    ports.check(place(tmp_path, http=free_port(), https=0))


def test_an_address_of_another_machine_is_refused(tmp_path):
    somewhere = layout.Ports(http=0, https=free_port(), https_address="192.0.2.1")

    with pytest.raises(ConfigError, match=r"cannot be used: this machine has no address 192\.0\.2\.1"):
        ports.check(layout.build(Settings(), tmp_path, somewhere))


def test_a_port_is_free_again_right_after_it_was_used(tmp_path):
    """Connections that just ended hold it for a minute (TIME_WAIT), which must not forbid a restart."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = listening.accept()
            accepted.close()

    ports.check(place(tmp_path, http=port, https=0))
