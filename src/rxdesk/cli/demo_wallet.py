"""The demo's wallet passes: their designs and certificates, and what stands for Apple, Google and the phones."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rxdesk.cli.common import as_operator, note

if TYPE_CHECKING:
    from rxdesk.db.pool import Connection
    from rxdesk.settings import Settings

FOLDER = "wallet"
_PASS_TYPE, _TEAM = "pass.org.example.rxdesk-demo", "DEMO000000"
_VALID = timedelta(days=3650)
_PHONES_SECONDS = 20.0
_LOOK_SECONDS = 0.02


async def design(
    connection: Connection, settings: Settings, organisations: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Give the templates their looks and issue the sample passes; the path of each organisation's sample page."""
    from rxdesk.demo.designs import design_templates, issue_sample
    from rxdesk.demo.organisations import ORGANISATIONS

    known = {one.slug: one for one in ORGANISATIONS.values()}
    pages = []
    for entry in organisations:
        slug, uid = entry["slug"], entry["samples"]["wallet_pass_uid"]
        await as_operator(connection, settings, slug, partial(design_templates, organisation=known[slug]))
        pages.append(await as_operator(connection, settings, slug, partial(issue_sample, uid=uid)))
    return pages


def certificates(data_dir: Path) -> Path:
    """Give the folder of the demo's chain of certificates; it is made, whole or not at all, where it is not there."""
    folder = data_dir / FOLDER
    if not folder.exists():
        from rxdesk.kit.clock import utc_now
        from rxdesk.wallet.apple.trial import create_chain

        new = data_dir / f"{FOLDER}.new"
        shutil.rmtree(new, ignore_errors=True)  # of a start that was killed
        create_chain(new, _PASS_TYPE, _TEAM, utc_now().replace(microsecond=0), _VALID)
        new.chmod(0o700)
        new.rename(folder)
    return folder


@dataclasses.dataclass(frozen=True, slots=True)
class Phones:
    """The companies' servers and the phones, which run beside the server, and the settings that lead to them.

    `google`: whether Google's is among them, which it is not where another account is configured.
    """

    settings: Settings
    ready_after: Callable[[Callable[[], None]], None]
    google: bool


@contextlib.contextmanager
def phones(settings: Settings, pass_url: str) -> Iterator[Phones]:
    """Keep the companies' ports, on loopback, and give what starts the phones; all of it ends with the block."""
    from rxdesk.beside import Beside
    from rxdesk.demo.launch import Launch, kept_files
    from rxdesk.wallet.emulator.folder import having

    folder = certificates(settings.data_dir)
    ended = threading.Event()
    google = not (settings.google_account_file or settings.google_issuer)
    with (
        having(folder),
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_server(("127.0.0.1", 0)) as google_listener,
    ):
        files = [listener.fileno(), *([google_listener.fileno()] if google else [])]
        launch = Launch(folder, pass_url, files[0], os.getpid(), *files[1:])
        process = Beside(launch, "rxdesk.demo.phones", "phones", files=files)
        leading = _leading_to(settings, folder, listener.getsockname()[1])
        if google:
            leading = _leading_to_google(leading, folder, google_listener.getsockname()[1])
        _write_for_verbs(folder / "settings.env", settings, leading, pass_url)
        tell = partial(_tell_when_held, kept_files(folder), ended)
        telling: list[threading.Thread] = []

        def ready_after(ready: Callable[[], None]) -> None:
            process.start()
            telling.append(threading.Thread(target=tell, args=(ready,), name="phones-ready", daemon=True))
            telling[0].start()

        try:
            yield Phones(leading, ready_after, google)
        finally:
            ended.set()
            process.stop()
            for thread in telling:
                thread.join()


def _write_for_verbs(file: Path, given: Settings, leading: Settings, pass_url: str) -> None:
    """Write what the demo's server is started with besides, so that verbs beside it can be given the same."""
    from rxdesk.kit.files import write_privately

    changed = {
        one.name: str(getattr(leading, one.name))
        for one in dataclasses.fields(leading)
        if getattr(leading, one.name) != getattr(given, one.name)
    }
    changed["public_url"] = pass_url.partition("/w/")[0]
    lines = [f"RXDESK_{name.upper()}={shlex.quote(value)}\n" for name, value in sorted(changed.items())]
    write_privately(file, "".join(lines).encode())


def _tell_when_held(files: Sequence[Path], ended: threading.Event, ready: Callable[[], None]) -> None:
    """Say that all is ready once each phone keeps its pass, or after a while without."""
    from rxdesk.serving import tell_ready

    waited = 0.0
    while not all(file.exists() for file in files):
        if ended.wait(_LOOK_SECONDS):
            return
        waited += _LOOK_SECONDS
        if waited > _PHONES_SECONDS:
            note("the simulated phones do not have their pass yet: a push notification may reach none")
            break
    tell_ready(ready)


def _leading_to(settings: Settings, folder: Path, port: int) -> Settings:
    """Give the settings by which passes are signed with the demo's chain and pushed to the port."""
    from rxdesk.wallet.apple.trial import files_in

    files = files_in(folder)
    return dataclasses.replace(
        settings,
        apple_certificate_file=str(files.pass_certificate),
        apple_key_file=str(files.pass_key),
        apple_key_password="",
        apple_intermediate_file=str(files.intermediate),
        apple_push_url=f"https://127.0.0.1:{port}",
        egress_allow=_allowing(settings, f"127.0.0.1/32:{port}"),
        egress_ca_file=str(_authorities(settings.egress_ca_file, files.root, folder)),
    )


def _leading_to_google(settings: Settings, folder: Path, port: int) -> Settings:
    """Give the settings by which passes are saved at the double of Google's on the port."""
    from rxdesk.wallet.emulator.google_account import ISSUER, KEYS_PATH, SAVE_PATH, write_account

    url = f"http://127.0.0.1:{port}"
    return dataclasses.replace(
        settings,
        google_account_file=str(write_account(folder, url)),
        google_issuer=ISSUER,
        google_api_url=url,
        google_save_url=url + SAVE_PATH,
        google_keys_url=url + KEYS_PATH,
        egress_allow=_allowing(settings, f"http+127.0.0.1/32:{port}"),
    )


def _allowing(settings: Settings, target: str) -> str:
    return f"{settings.egress_allow}, {target}" if settings.egress_allow else target


def _authorities(given: str, root: Path, folder: Path) -> Path:
    """Give the file of authorities to trust: the demo's own, and those of the setting if there are any."""
    if not given:
        return root
    both = folder / "authorities.pem"
    both.write_bytes(root.read_bytes() + b"\n" + Path(given).read_bytes())
    return both
