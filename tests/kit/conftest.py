"""What tests of requests to the outside begin with."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator

import pytest
from cryptography import x509
from tests.kit.receivers import LOOPBACK, RECEIVER, Authority, Pki

from rxdesk.kit.egress import Egress


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("pki")
    authority = Authority(folder, "ours")
    names = [
        x509.DNSName("receiver.test"),
        x509.DNSName("xn--bcher-kva.test"),
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    return Pki(
        ca_file=authority.file,
        good=authority.server("good", names),
        expired=authority.server("expired", names, days=-1),
        wrong_name=authority.server("wrong", [x509.DNSName("other.test")]),
        unknown_authority=Authority(folder, "theirs").server("unknown", names),
    )


@pytest.fixture
def egress(pki: Pki) -> Egress:
    return Egress(LOOPBACK, ca_file=pki.ca_file, resolver=RECEIVER)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listener with room for every connection that is not to come."""
    # On all addresses, since 0.0.0.0 and 127.0.0.2 would lead here too.
    with socket.create_server(("0.0.0.0", 0), backlog=512) as listening:  # noqa: S104
        listening.setblocking(False)  # noqa: FBT003
        yield listening
