"""Which addresses a connection to the outside may be made to.

Pure: no name is resolved and no socket opened here. The list of networks is written out on purpose. The flags
of the standard library answer another question ("is this range registered as private?"), differ between
Python releases, and pass addresses that carry an IPv4 address inside them (NAT64, 6to4, ISATAP).

Sources: the IANA special-purpose address registries for IPv4 and IPv6, the IANA IPv6 address space registry,
and the providers' own pages for metadata services.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Scheme: TypeAlias = Literal["https", "http"]

_REFUSED_NETWORKS: tuple[tuple[str, str], ...] = (
    # IPv4
    ("0.0.0.0/8", "unspecified"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared"),  # carrier-grade NAT
    ("100.100.100.200/32", "metadata"),  # Alibaba Cloud
    ("127.0.0.0/8", "loopback"),
    ("168.63.129.16/32", "metadata"),  # Azure; lies in public address space
    ("169.254.0.0/16", "link_local"),
    ("169.254.0.23/32", "metadata"),  # Tencent Cloud
    ("169.254.42.42/32", "metadata"),  # Scaleway
    ("169.254.169.0/24", "metadata"),  # 254 at nearly every provider; 253 and 123 are Amazon's DNS and NTP
    ("169.254.170.0/24", "metadata"),  # Amazon's container and pod credentials
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "protocol_assignment"),
    ("192.0.0.192/32", "metadata"),  # Oracle Cloud
    ("192.0.2.0/24", "documentation"),
    ("192.31.196.0/24", "anycast"),  # AS112
    ("192.52.193.0/24", "anycast"),  # multicast tunnelling
    ("192.88.99.0/24", "relay"),  # 6to4 relay, withdrawn
    ("192.168.0.0/16", "private"),
    ("192.175.48.0/24", "anycast"),  # AS112
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("255.255.255.255/32", "broadcast"),
    # IPv6. Only 2000::/3 is global unicast: whatever lies outside is refused, with or without a line here.
    ("::/3", "reserved"),
    ("4000::/2", "reserved"),
    ("8000::/1", "reserved"),
    ("::/96", "embedded_ipv4"),  # IPv4-compatible
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::ffff:0:0/96", "embedded_ipv4"),  # IPv4-mapped
    ("::ffff:0:0:0/96", "embedded_ipv4"),  # IPv4-translated
    ("64:ff9b::/96", "embedded_ipv4"),  # NAT64
    ("64:ff9b:1::/48", "embedded_ipv4"),  # NAT64 for local use
    ("100::/64", "discard"),
    ("100:0:0:1::/64", "discard"),  # dummy prefix
    ("2001::/23", "protocol_assignment"),
    ("2001::/32", "embedded_ipv4"),  # Teredo
    ("2001:2::/48", "benchmarking"),
    ("2001:10::/28", "protocol_assignment"),  # ORCHID
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "embedded_ipv4"),  # 6to4
    ("2620:4f:8000::/48", "anycast"),  # AS112
    ("3ffe::/16", "reserved"),  # 6bone, returned
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment_routing"),
    ("fc00::/7", "unique_local"),
    ("fd00:42::42/128", "metadata"),  # Scaleway
    ("fd00:c1::a9fe:a9fe/128", "metadata"),  # Oracle Cloud
    ("fd00:ec2::/32", "metadata"),  # Amazon: metadata, DNS, NTP, pod credentials
    ("fd20:ce::254/128", "metadata"),  # Google Cloud
    ("fe80::/10", "link_local"),
    ("fec0::/10", "site_local"),
    ("ff00::/8", "multicast"),
)

NEVER_OPENED = frozenset(
    {"broadcast", "embedded_ipv4", "metadata", "multicast", "not_an_address", "scoped", "unspecified"}
)
"""Reasons that no entry of an `AllowList` overrides."""

# The interface identifier of ISATAP, in any prefix: 0000:5efe or 0200:5efe, then the IPv4 address.
_ISATAP_MARKS = frozenset({0x0000_5EFE, 0x0200_5EFE})


def _longest_first() -> tuple[tuple[Network, str], ...]:
    networks = [(ip_network(text), reason) for text, reason in _REFUSED_NETWORKS]
    return tuple(sorted(networks, key=lambda entry: entry[0].prefixlen, reverse=True))


_NETWORKS = _longest_first()


def judge(address: str | Address) -> str | None:
    """Say why no connection may be made to an address; None when it is globally routable unicast.

    A text must be an address in its canonical family notation (no octal, hexadecimal or short IPv4), else the
    reason is `not_an_address`. The reasons: anycast, benchmarking, broadcast, discard, documentation,
    embedded_ipv4, link_local, loopback, metadata, multicast, not_an_address, private, protocol_assignment,
    relay, reserved, scoped, segment_routing, shared, site_local, unique_local, unspecified.
    """
    if isinstance(address, str):
        try:
            address = ip_address(address)
        except ValueError:
            return "not_an_address"
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return "scoped"
        if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP_MARKS:
            return "embedded_ipv4"
    for network, reason in _NETWORKS:
        if address in network:
            return reason
    return None


@dataclass(frozen=True, slots=True)
class AllowRule:
    """One opened range: a network, a port (None is any) and whether plain HTTP may be spoken there."""

    network: Network
    port: int | None
    plain_http: bool

    def covers(self, address: Address, port: int) -> bool:
        """Tell whether address and port lie in the range."""
        return (self.port is None or self.port == port) and address in self.network


@dataclass(frozen=True, slots=True)
class AllowList:
    """The internal targets that the operator has opened, and the judge of a connection with them in mind."""

    rules: tuple[AllowRule, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "AllowList":
        """Read a comma-separated list such as `10.1.0.0/16:8443, [fd00::/8]:443, http+127.0.0.0/8:*`.

        An entry is `CIDR:port`; an IPv6 network stands in brackets, the port may be `*`, and `http+` before
        it allows plain HTTP there beside HTTPS. An empty text opens nothing. Raises ValueError naming the bad
        entry: no prefix length, bits set beyond it, a port outside 1–65535, or a range that is never opened
        (metadata services, multicast, broadcast, unspecified, IPv4 inside IPv6).
        """
        if not text.strip():
            return cls()
        return cls(tuple(_parse_rule(entry.strip()) for entry in text.split(",")))

    @property
    def opens_plain_http(self) -> bool:
        """Whether plain HTTP is allowed anywhere at all."""
        return any(rule.plain_http for rule in self.rules)

    def refusal(self, address: str | Address, port: int, scheme: Scheme = "https") -> str | None:
        """Say why no connection may be made to address and port; None when it may.

        The reasons are those of `judge`, and `plain_http` where only the missing TLS stands against it.
        """
        reason = judge(address)
        if reason in NEVER_OPENED:
            return reason
        parsed = ip_address(address) if isinstance(address, str) else address
        covering = [rule for rule in self.rules if rule.covers(parsed, port)]
        if reason is not None and not covering:
            return reason
        if scheme == "http" and not any(rule.plain_http for rule in covering):
            return "plain_http"
        return None


_RULE = re.compile(
    r"(?P<http>http\+)?(?:\[(?P<v6>[0-9A-Fa-f:./]+)\]|(?P<v4>[0-9./]+)):(?P<port>\*|[0-9]{1,5})", re.ASCII
)
_LAST_PORT = 65535


def _parse_rule(entry: str) -> AllowRule:
    match = _RULE.fullmatch(entry)
    if match is None:
        raise ValueError(
            f"{entry!r} is not of the form CIDR:port, "
            "such as 10.1.0.0/16:8443, [fd00::/8]:443 or http+127.0.0.0/8:*"
        )
    cidr = match["v6"] or match["v4"]
    if "/" not in cidr:
        raise ValueError(f"{entry!r} has no prefix length: write /32 (IPv6: /128) for a single address")
    try:
        network: Network = IPv6Network(cidr) if match["v6"] else IPv4Network(cidr)
    except ValueError as fault:
        raise ValueError(f"{entry!r}: {fault}") from None
    port = None if match["port"] == "*" else int(match["port"])
    if port is not None and not 1 <= port <= _LAST_PORT:
        raise ValueError(f"{entry!r}: the port is not in 1–{_LAST_PORT}")
    reason = _never_opened_whole(network)
    if reason is not None:
        raise ValueError(f"{entry!r} can never be opened: {reason}")
    return AllowRule(network, port, plain_http=match["http"] is not None)


def _never_opened_whole(network: Network) -> str | None:
    """Give the reason when a network lies wholly in a range that is never opened."""
    for refused, reason in _NETWORKS:
        if _within(network, refused):
            return reason if reason in NEVER_OPENED else None
    return None


def _within(inner: Network, outer: Network) -> bool:
    return inner.network_address in outer and inner.prefixlen >= outer.prefixlen
