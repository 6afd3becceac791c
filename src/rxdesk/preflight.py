"""Whether the settings are such that a worker can start with them, looked at before there is one."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from rxdesk.settings import Settings, SettingsError

_OPTIONAL = frozenset({"egress_allow", "trusted_proxies", "redis_url", "egress_ca_file", "public_url"})


def check_settings(settings: Settings, encryption_keys: str | None = None) -> None:
    """Judge the settings that a worker reads, before there is one; the keys only when they are given.

    Raises SettingsError, which names no secret.
    """
    readers: list[tuple[str, Callable[[str], object], str]] = [
        ("address", ipaddress.ip_address, settings.address),
        ("metrics_address", ipaddress.ip_address, settings.metrics_address),
        ("egress_allow", _read_egress_allow, settings.egress_allow),
        ("trusted_proxies", _read_trusted_proxies, settings.trusted_proxies),
        ("redis_url", _read_redis_url, settings.redis_url),
        ("egress_ca_file", _read_ca_file, settings.egress_ca_file),
    ]
    readers += [
        ("public_url", _read_public_url, settings.public_url),
        ("apple_certificate_file", lambda _: _read_apple_files(settings), settings.apple_certificate_file),
        ("apple_push_url", _read_push_url, settings.apple_push_url),
        ("google_account_file", lambda _: _read_google_account(settings), settings.google_account_file),
        ("google_api_url", _read_public_url, settings.google_api_url),
        ("google_save_url", _read_public_url, settings.google_save_url),
        ("google_keys_url", _read_public_url, settings.google_keys_url),
    ]
    if encryption_keys is not None:
        readers.append(("encryption_keys", _read_keys, encryption_keys))
    for name, read, text in readers:
        try:
            if text or name not in _OPTIONAL:
                read(text)
        except ValueError as error:
            message = f"{name} is wrong: {error}"
            raise SettingsError(message) from error


def _read_keys(text: str) -> None:
    from rxdesk.kit.sealing import read_keys  # noqa: PLC0415 (each only where it is asked for: they cost the start)

    if not read_keys(text):
        message = "it is empty; put the key back that was in use, or no stored secret can be read"
        raise ValueError(message)


def _read_egress_allow(text: str) -> None:
    from rxdesk.kit.addresses import AllowList  # noqa: PLC0415 (likewise)

    AllowList.parse(text)


def _read_trusted_proxies(text: str) -> None:
    from rxdesk.web.rate_limit import read_networks  # noqa: PLC0415 (likewise)

    read_networks(text)


def _read_redis_url(text: str) -> None:
    from redis.asyncio.connection import parse_url  # noqa: PLC0415 (a tenth of a second that few pay)

    try:
        parse_url(text)
    except ValueError:
        message = "it is not of the form redis://host:port/0"
        raise ValueError(message) from None


def _read_ca_file(text: str) -> None:
    import ssl  # noqa: PLC0415 (likewise)

    try:
        ssl.create_default_context().load_verify_locations(text)
    except (OSError, ssl.SSLError) as error:
        message = f"{text} is no readable PEM file of certificates ({error.strerror or error})"
        raise ValueError(message) from error


def _read_public_url(text: str) -> None:
    _read_url(text, ("http", "https"), "https://passes.example")


def _read_push_url(text: str) -> None:
    _read_url(text, ("https",), "https://api.push.apple.com")


def _read_url(text: str, schemes: tuple[str, ...], form: str) -> None:
    from urllib.parse import urlsplit  # noqa: PLC0415 (likewise)

    parts = urlsplit(text)
    wrong = parts.scheme not in schemes or not parts.hostname or "@" in parts.netloc
    if wrong or parts.query or parts.fragment:
        raise ValueError(f"it is not of the form {form}")


def _read_apple_files(settings: Settings) -> None:
    if not (settings.apple_certificate_file or settings.apple_key_file or settings.apple_intermediate_file):
        return
    from rxdesk.wallet.apple.certificates import CertificateError  # noqa: PLC0415 (likewise)
    from rxdesk.wallet.issuing import signer_of  # noqa: PLC0415 (likewise)

    try:
        signer_of(settings)
    except CertificateError as error:
        raise ValueError(str(error)) from error


def _read_google_account(settings: Settings) -> None:
    if not (settings.google_account_file or settings.google_issuer):
        return
    from rxdesk.wallet.google.account import AccountError  # noqa: PLC0415 (likewise)
    from rxdesk.wallet.issuing import google_of  # noqa: PLC0415 (likewise)

    try:
        google_of(settings)
    except AccountError as error:
        raise ValueError(str(error)) from error
