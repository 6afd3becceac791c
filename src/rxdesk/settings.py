"""Settings: `defaults.toml`, then a file, then `RXDESK_*`. The only reader of the environment.

`defaults.toml` is the documentation: its comments make `docs/configuration.md`, and an option it does not list is
refused.
"""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

PREFIX = "RXDESK_"
_DEFAULTS = "defaults.toml"
_OPTION = re.compile(r"^([a-z_]+) = (.*?)(?:\s+# (secret))?$")
# Set by us for ourselves or read before the settings; not options.
_NOT_OPTIONS = frozenset({"RXDESK_CONFIG"})

_POOL_OF_ONE, _POOL_OF_SEVERAL = 8, 4


class SettingsError(Exception):
    """A setting is unknown or has a wrong value; the message says which, where it came from and what it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective settings; see `defaults.toml` for what each means and its unit."""

    data_dir: Path
    database_url: str
    database_app_role: str
    database_pool_size: int
    address: str
    port: int
    workers: int
    metrics_address: str
    metrics_port: int
    encryption_keys: str
    redis_url: str
    rate_limit_per_second: int
    rate_limit_per_minute: int
    unknown_keys_per_minute: int
    trusted_proxies: str
    egress_allow: str
    egress_ca_file: str
    delivery_timeout_seconds: float
    delivery_connect_seconds: float
    worker_concurrency: int
    event_retention_days: int
    request_timeout_seconds: float
    statement_timeout_seconds: float
    intent_valid_days: int
    consultation_minutes: int
    doctors_on_duty: int
    preferred_doctor_patience_minutes: int
    doctor_heartbeat_seconds: int
    vanished_doctor_grace_seconds: int
    forecast_seconds: int
    streams_per_process: int
    streams_per_organisation: int
    streams_per_key: int
    stream_comment_seconds: float
    public_url: str
    public_requests_per_minute: int
    apple_certificate_file: str
    apple_key_file: str
    apple_key_password: str
    apple_intermediate_file: str
    apple_push_url: str
    google_account_file: str
    google_issuer: str
    google_api_url: str
    google_save_url: str
    google_keys_url: str
    log_level: str

    def pool_size(self, processes: int = 1) -> int:
        """How many connections to the database each of so many processes has.

        Where nothing is set, few for each of several: what more connections ask for at once, PostgreSQL does no sooner,
        and each is a process with caches of its own (docs/performance.md).
        """
        return self.database_pool_size or (_POOL_OF_ONE if processes == 1 else _POOL_OF_SEVERAL)

    def connections(self) -> tuple[int, int]:
        """How many connections a serving process has at most, and how many a process that delivers has.

        Each has one more than its pool, by which it hears of changes.
        """
        return self.pool_size(self.workers) + 1, self.pool_size() + 1

    def all_connections(self) -> int:
        """How many connections `serve` has at most, with all its processes."""
        serving, delivering = self.connections()
        return self.workers * serving + delivering


@dataclass(frozen=True, slots=True)
class Option:
    """One option as the defaults file documents it."""

    name: str
    default: str | int | float
    comment: str
    secret: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and, for each option, where its value came from (`default`, a file, a variable or a flag)."""

    settings: Settings
    origins: Mapping[str, str]


_BOUNDS: dict[str, tuple[float, float]] = {
    "database_pool_size": (0, 500),
    "port": (0, 65535),
    "metrics_port": (0, 65535),
    "workers": (1, 256),
    "rate_limit_per_second": (0, 1_000_000),
    "rate_limit_per_minute": (0, 60_000_000),
    "unknown_keys_per_minute": (1, 60_000_000),
    "delivery_timeout_seconds": (0.1, 60),
    "delivery_connect_seconds": (0.1, 60),
    "worker_concurrency": (4, 1024),
    "event_retention_days": (1, 36500),
    "request_timeout_seconds": (1, 300),
    "statement_timeout_seconds": (0.5, 300),
    "intent_valid_days": (0, 36500),
    "consultation_minutes": (1, 1440),
    "doctors_on_duty": (0, 10_000),
    "preferred_doctor_patience_minutes": (0, 1440),
    "doctor_heartbeat_seconds": (5, 86_400),
    "vanished_doctor_grace_seconds": (0, 86_400),
    "forecast_seconds": (1, 300),
    "streams_per_process": (0, 100_000),
    "streams_per_organisation": (0, 100_000),
    "streams_per_key": (0, 100_000),
    "stream_comment_seconds": (0.1, 300),
    "public_requests_per_minute": (0, 60_000_000),
}
_CHOICES = {"log_level": ("debug", "info", "warning", "error")}


def options() -> tuple[Option, ...]:
    """Read the documented options in their order; an option's comment is the block above its paragraph."""
    text = resources.files("rxdesk").joinpath(_DEFAULTS).read_text("utf-8")
    values = tomllib.loads(text)
    found: list[Option] = []
    comment: list[str] = []
    for line in text.splitlines():
        if line.startswith("#"):
            comment.append(line.removeprefix("#").strip())
        elif not line:
            comment = []
        elif match := _OPTION.match(line):
            found.append(Option(match[1], values[match[1]], " ".join(comment), match[3] is not None))
    return tuple(found)


def _wrong(name: str, origin: str, wanted: str) -> SettingsError:
    return SettingsError(f"{name} (from {origin}) must be {wanted}")


def _value(option: Option, raw: object, origin: str) -> str | int | float:
    value: Any = raw
    if isinstance(option.default, str):
        if not isinstance(value, str):
            raise _wrong(option.name, origin, "a text")
        if option.name in _CHOICES and value not in _CHOICES[option.name]:
            raise _wrong(option.name, origin, "one of " + ", ".join(_CHOICES[option.name]))
        if option.name == "data_dir" and not value:  # it would be the current folder, whichever that is
            raise _wrong(option.name, origin, "the name of a folder, and is empty")
        return value
    kind: type[int | float] = float if isinstance(option.default, float) else int
    try:
        number = kind(value) if isinstance(value, str | int | kind) and not isinstance(value, bool) else None
    except ValueError:
        number = None
    low, high = _BOUNDS[option.name]
    if number is None or not low <= number <= high:
        noun = "a number" if kind is float else "a whole number"
        raise _wrong(option.name, origin, f"{noun} from {low:g} to {high:g}")
    if option.name == "database_pool_size" and number == 1:
        reason = "of a single connection none would be left for reads while a write waits for a lock"
        raise _wrong(option.name, origin, f"0, or 2 or more: {reason}")
    return number


def _unknown(name: str, origin: str, known: Mapping[str, Option]) -> SettingsError:
    import difflib  # noqa: PLC0415 (only on the way to an error)

    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    return SettingsError(f"unknown setting {name} (from {origin}){hint} There are: {', '.join(known)}")


def load(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Loaded:
    """Put the settings together: defaults, then file, then environment, then the command's flags.

    Raises SettingsError on an unknown option or a wrong value.
    """
    environ = os.environ if environment is None else environment
    known = {option.name: option for option in options()}
    values: dict[str, Any] = {name: option.default for name, option in known.items()}
    origins = dict.fromkeys(known, "default")

    def put(name: str, raw: object, origin: str) -> None:
        if name not in known:
            raise _unknown(name, origin, known)
        values[name] = _value(known[name], raw, origin)
        origins[name] = origin

    path = file or (Path(environ["RXDESK_CONFIG"]) if environ.get("RXDESK_CONFIG") else None)
    if path is not None:
        try:
            content = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            message = f"settings file {path} cannot be read: {error}"
            raise SettingsError(message) from error
        for name, raw in content.items():
            put(name, raw, f"file {path}")
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in _NOT_OPTIONS:
            put(variable.removeprefix(PREFIX).lower(), environ[variable], f"variable {variable}")
    for name, raw in (flags or {}).items():
        if raw is not None:
            put(name, raw if isinstance(raw, int | float) else str(raw), "flag")
    values["data_dir"] = Path(values["data_dir"]).absolute()
    return Loaded(Settings(**values), origins)


def hand_down(name: str, value: str) -> None:
    """Set a variable for this process and those it starts, for a library that reads nothing else."""
    os.environ[name] = value


def shown(loaded: Loaded) -> list[dict[str, object]]:
    """Give each option's name, value and origin for people; secrets that are set are shown as `(hidden)`."""
    values = dataclasses.asdict(loaded.settings)
    return [
        {
            "name": option.name,
            "value": "(hidden)" if option.secret and values[option.name] else _plain(values[option.name]),
            "origin": loaded.origins[option.name],
        }
        for option in options()
    ]


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
