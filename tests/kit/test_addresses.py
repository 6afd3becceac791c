import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from rxdesk.kit.addresses import AllowList, judge

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2001:200::1",
    "2606:4700:4700::1111",
    "2a01:4f8::1",
    "2003::1",
    "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db9::",
    "3fff:1000::1",
]

REFUSED = {
    "unspecified": ["0.0.0.0", "0.255.255.255", "::"],  # noqa: S104 - judged, not bound to
    "private": [
        "10.0.0.0",
        "10.255.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.168.0.0",
        "192.168.255.255",
    ],
    "shared": ["100.64.0.0", "100.127.255.255"],
    "metadata": [
        "100.100.100.200",
        "168.63.129.16",
        "169.254.169.254",
        "169.254.170.2",
        "169.254.42.42",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
    ],
    "loopback": ["127.0.0.0", "127.0.0.1", "127.255.255.255", "::1"],
    "link_local": ["169.254.0.1", "169.254.255.255", "fe80::1", "febf:ffff::"],
    "protocol_assignment": ["192.0.0.0", "192.0.0.9", "192.0.0.255", "2001:1::1", "2001:20::1", "2001:1ff::"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.255", "2001:db8::1", "3fff::1", "3fff:fff::"],
    "anycast": ["192.31.196.1", "192.52.193.1", "192.175.48.1", "2620:4f:8000::1"],
    "relay": ["192.88.99.1"],
    "benchmarking": ["198.18.0.0", "198.19.255.255", "2001:2::1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff00::"],
    "reserved": [
        "240.0.0.1",
        "255.255.255.254",
        "4000::1",
        "1fff::1",
        "e000::",
        "3ffe::1",
        "200::1",
        "8000::1",
    ],
    "broadcast": ["255.255.255.255"],
    "embedded_ipv4": [
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::a00:1",
        "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "2002:7f00:1::",
        "2002:808:808::1",
        "2a01:4f8::5efe:127.0.0.1",
        "2a01:4f8::200:5efe:10.0.0.1",
        "fe80::5efe:192.168.1.1",
    ],
    "discard": ["100::1", "100:0:0:1::1"],
    "segment_routing": ["5f00::1", "5f00:ffff::"],
    "unique_local": ["fc00::1", "fd12:3456::1", "fdff:ffff::"],
    "site_local": ["fec0::1", "feff::1"],
    "scoped": ["fe80::1%eth0", "::1%lo", "2606:4700::1%1"],
    "not_an_address": [
        "",
        "localhost",
        "127.1",
        "0177.0.0.1",
        "2130706433",
        "0x7f.0.0.1",
        "1.2.3.4.5",
        "[::1]",
    ],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_global_unicast_is_let_through(address: str) -> None:
    assert judge(address) is None
    assert judge(ip_address(address)) is None


@pytest.mark.parametrize(("reason", "address"), [(r, a) for r, found in REFUSED.items() for a in found])
def test_all_else_is_refused_for_its_reason(reason: str, address: str) -> None:
    assert judge(address) == reason


@pytest.mark.parametrize("number", range(256))
def test_every_first_byte_outside_global_unicast_ipv6_is_refused(number: int) -> None:
    verdict = judge(IPv6Address((number << 120) | (0x1234 << 96) | 1))
    # 2000::/3 is the space that is allocated to global unicast; 20 also holds what is refused within it.
    assert (verdict is None) == (0x20 <= number <= 0x3F)


def test_ranges_are_whole() -> None:
    for text in ("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "100.64.0.0/10", "224.0.0.0/4", "240.0.0.0/4"):
        network = ip_network(text)
        step = max(1, network.num_addresses // 257)
        assert all(judge(network[i]) for i in range(0, network.num_addresses, step)), text


def test_an_empty_list_opens_nothing() -> None:
    for text in ("", "  "):
        allow = AllowList.parse(text)
        assert allow == AllowList()
        assert not allow.opens_plain_http
        assert allow.refusal("127.0.0.1", 443) == "loopback"
        assert allow.refusal("1.1.1.1", 443) is None
        assert allow.refusal("1.1.1.1", 80, "http") == "plain_http"


def test_an_entry_opens_its_network_at_its_port_only() -> None:
    allow = AllowList.parse("127.0.0.1/32:3000, http+127.0.1.0/24:*,10.1.0.0/16:8443,[fd00::/8]:443")
    assert allow.opens_plain_http
    assert allow.refusal("127.0.0.1", 3000) is None
    assert allow.refusal("127.0.0.1", 3001) == "loopback"
    assert allow.refusal("127.0.0.2", 3000) == "loopback"
    assert allow.refusal("127.0.0.1", 3000, "http") == "plain_http"
    assert allow.refusal("127.0.1.9", 1, "http") is None
    assert allow.refusal("127.0.1.9", 65535, "https") is None
    assert allow.refusal(IPv4Address("10.1.255.255"), 8443) is None
    assert allow.refusal("10.2.0.0", 8443) == "private"
    assert allow.refusal(IPv6Address("fd12::1"), 443) is None
    assert allow.refusal("fd12::1", 444) == "unique_local"
    assert allow.refusal("1.1.1.1", 80, "http") == "plain_http"


def test_plain_http_can_be_opened_to_a_public_network() -> None:
    allow = AllowList.parse("http+1.1.1.0/24:80")
    assert allow.refusal("1.1.1.1", 80, "http") is None
    assert allow.refusal("1.1.1.1", 81, "http") == "plain_http"
    assert allow.refusal("1.1.1.1", 81, "https") is None


@pytest.mark.parametrize(
    "address",
    [
        *REFUSED["metadata"],
        *REFUSED["embedded_ipv4"],
        *REFUSED["multicast"],
        *REFUSED["unspecified"],
        *REFUSED["scoped"],
        *REFUSED["not_an_address"],
        "255.255.255.255",
    ],
)
def test_no_entry_opens_what_is_never_opened(address: str) -> None:
    allow = AllowList.parse("http+0.0.0.0/0:*, http+[::/0]:*")
    assert allow.refusal("127.0.0.1", 80, "http") is None
    assert allow.refusal("::1", 80, "http") is None
    assert allow.refusal(address, 80, "http") is not None
    assert allow.refusal(address, 443) is not None


@pytest.mark.parametrize(
    "entry",
    [
        "127.0.0.1",
        "127.0.0.1:3000",
        "127.0.0.1/32",
        "127.0.0.1/33:80",
        "127.0.0.1/8:80",
        "127.0.0.0/8:0",
        "127.0.0.0/8:65536",
        "127.0.0.0/8:",
        "127.0.0.0/8:http",
        "127.0.0.0/8:-1",
        "https+127.0.0.0/8:80",
        "localhost:80",
        "localhost/32:80",
        "*:443",
        "fd00::/8:443",
        "[fd00::/8]",
        "[fd00::]:443",
        "[10.0.0.0/8]:443",
        "[fe80::%eth0/64]:443",
        "0177.0.0.0/8:80",
        "10.0.0.0/8:٨٠",
        "10.0.0.0/8:443,",
        ",",
        "169.254.169.254/32:80",
        "169.254.169.0/24:80",
        "168.63.129.16/32:*",
        "[fd00:ec2::254/128]:80",
        "[::ffff:10.0.0.0/104]:80",
        "[64:ff9b::/96]:443",
        "[2002::/16]:443",
        "224.0.0.0/4:443",
        "0.0.0.0/32:80",
    ],
)
def test_a_bad_entry_is_named(entry: str) -> None:
    named = "" if entry.endswith(",") else entry
    with pytest.raises(ValueError, match=f"^{re.escape(repr(named))}.{{8}}"):
        AllowList.parse(f"10.0.0.0/8:443, {entry}")
