"""`rxdesk check`: whether this installation is healthy."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rxdesk.cli.check_database import SEALED, check_database
from rxdesk.cli.common import EPILOG, AsJson, ConfigFile, DataDir, print_json, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rxdesk.db.location import Finding
    from rxdesk.settings import Settings

_LOW_DISK_BYTES = 1 << 30
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        show_default=False,
        help="The port to look at: free, or this installation's own (RXDESK_PORT).",
    ),
]
_RENEW_DAYS = 30


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog=EPILOG + "rxdesk check --data-dir /var/lib/rxdesk\n\nrxdesk check --json || alert")(
        check
    )


def check(
    *, port: Port = None, data_dir: DataDir = None, config: ConfigFile = None, as_json: AsJson = False
) -> None:
    """Look at everything that serving needs: one line a check, and exit status 1 if one fails.

    It looks beside a running server, and changes nothing. When the folder's server does not run, it is
    started for the length of the look.
    """
    findings = _findings(data_dir, config, port)
    if as_json:
        print_json([{"name": f.name, "ok": f.well, "message": f.message} for f in findings])
    else:
        for finding in findings:
            print(f"{'✓' if finding.well else '✗'} {finding.name}: {finding.message}")
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)


def _findings(data_dir: Any, config: Any, port: int | None) -> list[Finding]:  # noqa: ANN401 (as the options are)
    from rxdesk.db.location import Finding
    from rxdesk.settings import SettingsError

    try:
        settings = settings_of(data_dir, config, port=port).settings
    except SettingsError as error:
        return [Finding("settings", well=False, message=str(error))]
    findings = [_settings(settings)]
    serving = False
    usable = True
    if not settings.database_url:
        folder = [_folder(settings)]
        if folder[0].well:
            folder += [_disk(settings), _version(settings)]
        findings += folder
        usable = all(finding.well for finding in folder)
        if usable:
            serving = _is_serving(settings)
    database = check_database(settings, serving=serving) if usable else []
    lost = any(finding.name == SEALED and not finding.well for finding in database)
    findings += [_key(settings, lost=lost), _time_zones(), *database]
    if settings.redis_url:
        findings.append(_redis(settings))
    if settings.apple_certificate_file:
        findings.append(_apple_certificate(settings))
    if settings.google_account_file or settings.google_issuer:
        findings.append(_google_account(settings))
    findings.append(_port("port", settings.address, settings.port, serving=serving))
    if settings.metrics_port:
        findings.append(
            _port("metrics port", settings.metrics_address, settings.metrics_port, serving=serving)
        )
    return findings


def _finding(name: str, look: Callable[[], str]) -> Finding:
    """Run one look: its text when it is well, the error's when it is not."""
    from rxdesk.cli.common import judged
    from rxdesk.db.location import Finding

    try:
        return Finding(name, well=True, message=look())
    except Exception as error:
        line, _ = judged(error)
        if line is None:
            raise
        return Finding(name, well=False, message=line)


def _settings(settings: Settings) -> Finding:
    from rxdesk.preflight import check_settings

    def look() -> str:
        check_settings(settings, settings.encryption_keys or None)
        return "all known and of right form"

    return _finding("settings", look)


def _folder(settings: Settings) -> Finding:
    from rxdesk.cli.common import CliError

    folder = settings.data_dir

    def look() -> str:
        if not folder.is_dir():
            message = f"{folder} is not there: `rxdesk migrate` or `rxdesk demo` makes it"
            raise CliError(message)
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & 0o022:
            message = f"{folder} may be changed by others (mode {mode:04o}): chmod go-w {folder}"
            raise CliError(message)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            message = f"{folder} may not be written by this user: run as its owner"
            raise CliError(message)
        # Harmless: the folder of the tables, the key and the log are for their owner alone, whatever this one's
        # mode. Ours are 0711: PostgreSQL, as a user of its own under root, must come through.
        listed = ", so others see the names in it, not what is in them" if mode & 0o044 else ""
        return f"{folder} (mode {mode:04o}{listed})"

    return _finding("data folder", look)


def _disk(settings: Settings) -> Finding:
    from rxdesk.cli.common import CliError

    def look() -> str:
        free = shutil.disk_usage(settings.data_dir).free
        if free < _LOW_DISK_BYTES:
            message = f"{free >> 20} MB are free: make room, PostgreSQL stops when the disk is full"
            raise CliError(message)
        return f"{free >> 30} GB are free"

    return _finding("disk", look)


def _version(settings: Settings) -> Finding:
    from rxdesk.cli.common import CliError
    from rxdesk.db.embedded import binary_version, data_version
    from rxdesk.db.embedded_cluster import check_version

    def look() -> str:
        made_by = data_version(settings.data_dir)
        if made_by is None:
            message = "the folder holds no database yet: `rxdesk migrate` or `rxdesk demo` makes one"
            raise CliError(message)
        check_version(settings.data_dir)
        return f"programs {binary_version()}, data of {made_by}"

    return _finding("embedded PostgreSQL", look)


def _key(settings: Settings, *, lost: bool) -> Finding:
    """Look at the keys; `lost`: the database holds secrets that they do not open."""
    from rxdesk.cli.common import CliError
    from rxdesk.kit.sealing import KEY_FILE, read_keys

    def look() -> str:
        text = settings.encryption_keys
        where = "from the settings"
        if not text:
            if settings.database_url:
                message = "encryption_keys is not set, and with database_url no key is made"
                raise CliError(message)
            path = settings.data_dir / KEY_FILE
            where = str(path)
            if not path.exists() and lost:
                message = f"{path} is not there, and the database holds what it has sealed: put it back"
                raise CliError(message)
            if not path.exists():
                return f"none yet; the first `rxdesk serve` or `rxdesk demo` makes {path}"
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                message = f"{path} may be read by others (mode {mode:04o}): chmod 600 {path}"
                raise CliError(message)
            text = path.read_text("ascii")
        try:
            keys = read_keys(text)
        except ValueError as error:
            raise CliError(str(error)) from error
        if not keys:
            message = f"{where} holds no key: put the one back that was in use"
            raise CliError(message)
        return f"{len(keys)} ({where})"

    return _finding("encryption key", look)


def _time_zones() -> Finding:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from rxdesk.cli.common import CliError

    def look() -> str:
        try:
            ZoneInfo("Europe/Berlin")
        except ZoneInfoNotFoundError as error:
            message = "no time zone data: install the package tzdata"
            raise CliError(message) from error
        return "there"

    return _finding("time zone data", look)


def _is_serving(settings: Settings) -> bool:
    from rxdesk.db import embedded

    return embedded.running(settings.data_dir) is not None


def _redis(settings: Settings) -> Finding:
    from redis import Redis, RedisError

    from rxdesk.db.location import Finding

    try:
        with Redis.from_url(settings.redis_url, socket_connect_timeout=2, socket_timeout=2) as client:
            client.ping()
    except (RedisError, OSError, ValueError) as error:
        message = f"does not answer ({type(error).__name__}): each process limits on its own until it does"
        return Finding("Redis", well=False, message=message)
    return Finding("Redis", well=True, message="answers")


def _apple_certificate(settings: Settings) -> Finding:
    from rxdesk.cli.common import CliError
    from rxdesk.kit.clock import utc_now
    from rxdesk.wallet.apple.certificates import CertificateError
    from rxdesk.wallet.issuing import signer_of

    def look() -> str:
        try:
            signer = signer_of(settings)
        except CertificateError as error:
            raise CliError(str(error)) from error
        if signer is None:
            raise CliError("it is not there")
        now = utc_now()
        days = (signer.expires_at - now).days
        until = f"{signer.pass_type}, until {signer.expires_at:%Y-%m-%d}"
        if now < signer.good_from:
            good = f"it is good only from {signer.good_from.isoformat()}"
            raise CliError(
                f"{until}: {good}. Devices take no pass of it before; is this machine's clock right?"
            )
        if days < _RENEW_DAYS:
            state = "has run out" if days < 0 else f"runs out in {days} days"
            raise CliError(f"{until}: it {state}. Renew it, or no pass can be signed and no device be told")
        return f"{until}: {days} days"

    return _finding("Apple's certificate", look)


def _google_account(settings: Settings) -> Finding:
    from rxdesk.cli.common import CliError
    from rxdesk.wallet.google.account import AccountError
    from rxdesk.wallet.issuing import google_of

    def look() -> str:
        try:
            google = google_of(settings)
        except AccountError as error:
            raise CliError(str(error)) from error
        if google is None:
            raise CliError("it is not there")
        return f"{google.account.email}, for the issuer {google.number}"

    return _finding("Google's service account", look)


def _port(name: str, address: str, port: int, *, serving: bool) -> Finding:
    from rxdesk.db.location import Finding
    from rxdesk.kit.ports import PortInUseError, hold_port

    where = f"{address}:{port}"
    try:
        hold_port(address, port).close()
    except PortInUseError as error:
        if serving:
            return Finding(name, well=True, message=f"{where} is in use, and a server runs on this folder")
        return Finding(name, well=False, message=str(error))
    return Finding(name, well=True, message=f"{where} is free")
