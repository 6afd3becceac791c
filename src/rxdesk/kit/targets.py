"""URLs that somebody else gave us to call: read strictly, and judged before anything is connected.

One parser, ours, decides what the URL means; what it returns is what is connected to. So there is no second
reader of the same text that could see another host in it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

import idna

from rxdesk.kit.addresses import Address, AllowList, Scheme

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolves (host name, port) to addresses as text, in the order to try them; raises OSError for none."""

MAX_URL_LENGTH = 2048
_MAX_NAME_LENGTH = 253
_LAST_PORT = 65535
_LOOPBACK: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.ASCII)
_AUTHORITY = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?", re.ASCII
)
# Letters, digits, hyphens, and the underscore that container networks use in names.
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


class TargetRefused(ValueError):  # noqa: N818 - a verdict, not a fault of the program
    """A target that is not called. `reason` is a short code; neither holds any part of the URL."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TargetInvalid(TargetRefused):
    """The text is no URL that we would call (the API answers 400)."""


class TargetForbidden(TargetRefused):
    """The URL leads to an address that the policy forbids (the API answers 422)."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, taken apart.

    `host` is in lower case, ASCII, without brackets or a trailing dot; `address` is set when the host is a
    literal; `path` begins with `/` and holds the query, exactly as given.
    """

    scheme: Scheme
    host: str
    port: int
    path: str
    address: Address | None

    @property
    def authority(self) -> str:
        """Host and port as a URL and a request's `Host` name them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL in its one normal spelling."""
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_target(url: str, policy: AllowList | None = None) -> Target:
    """Take a URL apart and judge what can be judged without resolving its name.

    Raises TargetInvalid when it is no absolute https URL of at most 2,048 characters without user
    information, fragment, white space, control characters or backslashes (http is let through only where the
    policy opens it), and TargetForbidden when its host is an address, or a name of loopback, that the policy
    forbids. An IPv4 address in another spelling (decimal, octal, hexadecimal, short) is judged as what it
    means and is refused in any case.
    """
    policy = policy or AllowList()
    _check_characters(url)
    match = _URL.fullmatch(url)
    if match is None:
        raise TargetInvalid("not_absolute", "must be an absolute https URL")
    scheme = _scheme(match["scheme"].lower(), policy)
    if "@" in match["authority"]:
        raise TargetInvalid("user_information", "must not hold a user name or password")
    if "#" in match["rest"]:
        raise TargetInvalid("fragment", "must not have a fragment")
    parts = _AUTHORITY.fullmatch(match["authority"])
    if parts is None:
        raise TargetInvalid("host", "must name a host, and a port in 1–65535 if any")
    port = int(parts["port"]) if parts["port"] else {"https": 443, "http": 80}[scheme]
    if not 1 <= port <= _LAST_PORT:
        raise TargetInvalid("port", "the port must be in 1–65535")
    if not match["rest"].isascii():
        raise TargetInvalid("not_ascii", "path and query must be percent-encoded")
    if parts["v6"]:
        host, address = _ipv6_host(parts["v6"])
    else:
        host, address = _named_host(parts["name"], port, scheme, policy)
    path = match["rest"] if match["rest"].startswith("/") else f"/{match['rest']}"
    target = Target(scheme, host, port, path, address)
    if address is not None:
        admit([address], target, policy)
    elif _is_localhost(host):
        _loopback_addresses(target, policy)
    return target


async def resolve_target(target: Target, policy: AllowList, resolver: Resolver) -> list[Address]:
    """Give the judged addresses of a target, in the order to try them.

    A literal and the names of loopback are never asked for. One forbidden address among the answers forbids
    the whole target: a name that is both public and internal is rebinding, or a mistake. Raises OSError when
    the name does not resolve, TargetForbidden or TargetInvalid (plain HTTP to a public address) when the
    policy refuses.
    """
    if target.address is not None:
        return admit([target.address], target, policy)
    if _is_localhost(target.host):
        return _loopback_addresses(target, policy)
    answers = await resolver(target.host, target.port)
    if not answers:
        raise OSError("the name has no address")
    return admit(list(dict.fromkeys(answers)), target, policy)


async def judge_target(url: str, policy: AllowList, resolver: Resolver, *, patience: float = 2.0) -> Target:
    """Judge a URL that is to be stored and called later.

    A name that does not resolve within `patience` seconds is accepted, since each call judges again; over
    plain HTTP it is not, since nothing then shows that the operator opened it. Raises TargetInvalid and
    TargetForbidden.
    """
    target = parse_target(url, policy)
    try:
        async with asyncio.timeout(patience):
            await resolve_target(target, policy, resolver)
    except OSError:  # TimeoutError is one
        if target.scheme == "http":
            raise _https_only() from None
    return target


def admit(addresses: Sequence[str | Address], target: Target, policy: AllowList) -> list[Address]:
    """Return the addresses when the policy lets each one be connected to for this target; raise otherwise."""
    refusals = [policy.refusal(address, target.port, target.scheme) for address in addresses]
    for reason in refusals:
        if reason is not None and reason != "plain_http":
            raise _forbidden(reason)
    if "plain_http" in refusals:
        raise _https_only()
    return [ip_address(address) if isinstance(address, str) else address for address in addresses]


def _forbidden(reason: str) -> TargetForbidden:
    return TargetForbidden(reason, "the target's address is not allowed")


def _https_only() -> TargetInvalid:
    return TargetInvalid("scheme", "must be an https URL")


def _check_characters(url: str) -> None:
    if len(url) > MAX_URL_LENGTH:
        raise TargetInvalid("length", f"must have at most {MAX_URL_LENGTH} characters")
    if any(sign == "\\" or sign.isspace() or not sign.isprintable() for sign in url if sign != "\u00ad"):
        # The soft hyphen counts as unprintable, yet is legal in a host name: IDNA takes it out.
        raise TargetInvalid("characters", "must not hold white space, control characters or backslashes")


def _scheme(scheme: str, policy: AllowList) -> Scheme:
    if scheme == "https":
        return "https"
    if scheme == "http" and policy.opens_plain_http:
        return "http"
    raise _https_only()


def _ipv6_host(text: str) -> tuple[str, Address | None]:
    try:
        address = IPv6Address(text)
    except ValueError:
        raise TargetInvalid("host", "the host is no valid IPv6 address") from None
    return str(address), address


def _named_host(raw: str, port: int, scheme: Scheme, policy: AllowList) -> tuple[str, Address | None]:
    """Give the ASCII host name, or the IPv4 address that the host is."""
    host = _to_ascii(raw)
    if _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]):
        address = _ipv4_address(host.removesuffix("."))
        reason = policy.refusal(address, port, scheme)
        if reason is not None and reason != "plain_http":
            raise _forbidden(reason)
        if raw != str(address):
            raise TargetInvalid("host", "an IPv4 address must be written as four decimal numbers")
        return raw, address
    host = host.removesuffix(".")
    if len(host) > _MAX_NAME_LENGTH or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise TargetInvalid("host", "the host is no valid name")
    return host, None


def _to_ascii(host: str) -> str:
    if host.isascii():
        return host.lower()
    try:
        return idna.encode(host, uts46=True).decode("ascii").lower()
    except UnicodeError:
        raise TargetInvalid("host", "the host is no valid internationalised name") from None


def _ipv4_address(host: str) -> IPv4Address:
    """Read an IPv4 address as the C library does: one to four parts, decimal, octal or hexadecimal."""
    try:
        *leading, last = [_ipv4_part(part) for part in host.split(".")]
        # The last part fills the bytes that the others leave; bytes() and to_bytes() refuse larger ones.
        return IPv4Address(bytes(leading) + last.to_bytes(4 - len(leading)))
    except (ValueError, OverflowError):
        raise TargetInvalid("host", "the host is no valid IPv4 address") from None


def _ipv4_part(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if len(part) > 1 and part.startswith("0") else 10)


def _is_localhost(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _loopback_addresses(target: Target, policy: AllowList) -> list[Address]:
    """Give what localhost means here: the loopback addresses that the policy opens; none is a refusal."""
    opened = [one for one in _LOOPBACK if policy.refusal(one, target.port, target.scheme) is None]
    return opened or admit(_LOOPBACK, target, policy)
