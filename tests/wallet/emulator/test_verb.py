"""`rxdesk wallet emulator` as a process: phones that show, a Google that calls back, files that are kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from tests.cli.processes import SLOW, environment, inside, refused, rxdesk
from tests.wallet.cards import PASS_TYPE, PATIENT
from tests.wallet.emulator.passkit import passkit

from rxdesk.kit.addresses import AllowList
from rxdesk.kit.clock import utc_now
from rxdesk.kit.egress import Egress
from rxdesk.wallet.apple.apns import ApnsClient, apns_tls
from rxdesk.wallet.apple.certificates import PassSigner, load_signer
from rxdesk.wallet.emulator.google_account import write_account
from rxdesk.wallet.google.account import load_account
from rxdesk.wallet.google.callbacks import read_root_keys, verify_callback
from rxdesk.wallet.google.client import GoogleWallet
from rxdesk.wallet.google.links import save_link

LOOPBACK = AllowList.parse("http+127.0.0.1/32:*,127.0.0.1/32:*")


class Emulator:
    def __init__(self, process: asyncio.subprocess.Process, facts: dict[str, str]) -> None:
        self.process = process
        self.facts = facts

    async def said(self) -> dict[str, str]:
        return await line(self.process)

    def file(self, name: str) -> Path:
        return Path(self.facts[name])

    def apns(self) -> ApnsClient:
        tls = apns_tls(self.file("pass_certificate"), self.file("pass_key"), "", self.file("authority"))
        return ApnsClient(Egress(LOOPBACK), self.facts["apns_url"], tls, PASS_TYPE, utc_now)


async def line(process: asyncio.subprocess.Process) -> dict[str, str]:
    assert process.stdout is not None
    async with asyncio.timeout(SLOW):
        read: dict[str, str] = json.loads(await process.stdout.readline())
        return read


@contextlib.asynccontextmanager
async def emulator(folder: Path, *arguments: object) -> AsyncIterator[Emulator]:
    verb = ["wallet", "emulator", "--certificates", folder, "--apns-port", 0, "--google-port", 0, "--json"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "rxdesk",
        *map(str, (*verb, *arguments)),
        stdout=asyncio.subprocess.PIPE,
        env=environment(),
    )
    try:
        yield Emulator(process, await line(process))
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(SLOW):
            assert await process.wait() == 130
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def signer_of(folder: Path) -> PassSigner:
    return load_signer(folder / "pass.pem", folder / "pass.key", folder / "intermediate.pem")


async def test_a_push_is_seen_on_two_phones(tmp_path: Path) -> None:
    assert inside("wallet", "certificates", "create-test", "--out", tmp_path).returncode == 0
    async with passkit(signer_of(tmp_path)) as service:
        (tmp_path / "card.pkpass").write_bytes(service.file())
        phones = ["--add", tmp_path / "card.pkpass", "--phone", "en", "--phone", "de"]
        async with emulator(tmp_path, *phones) as running:
            added = [await running.said() for _ in range(2)]
            assert [one["who"] for one in added] == ["phone 1", "phone 2"]
            service.say("Your order is on its way")
            client = running.apns()
            try:
                for token in service.registered.values():
                    assert (await client.push(token)).verdict == "sent"
            finally:
                await client.close()
            shown = sorted([await running.said() for _ in range(2)], key=lambda one: one["who"])
            assert shown == [
                {"who": f"phone {number}", "what": "screen", "text": "Your order is on its way"}
                for number in (1, 2)
            ]


async def test_a_pass_that_no_phone_takes_is_told(tmp_path: Path) -> None:
    (tmp_path / "card.pkpass").write_bytes(b"PK")
    async with emulator(tmp_path / "new", "--add", tmp_path / "card.pkpass") as running:
        assert await running.said() == {
            "who": "phone 1",
            "what": "complaint",
            "text": "not a ZIP file, or a damaged one",
        }


@pytest.fixture
async def callbacks() -> AsyncIterator[tuple[str, asyncio.Queue[bytes]]]:
    came: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        await came.put(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/callback", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/callback", came
    await runner.cleanup()


async def test_google_is_told_a_holder_saves_and_is_notified(
    tmp_path: Path, callbacks: tuple[str, asyncio.Queue[bytes]]
) -> None:
    address, came = callbacks
    async with emulator(tmp_path) as running:
        facts, egress = running.facts, Egress(LOOPBACK)
        account = load_account(running.file("google_account_file"))
        google = GoogleWallet(egress, account, facts["google_issuer"], utc_now, facts["google_url"])
        assert (await google.put_class(PATIENT, address)).verdict == "done"
        assert (await google.put_object(PATIENT)).verdict == "done"
        save_url = facts["google_url"] + "/gp/v/save"
        link = save_link(PATIENT, facts["google_issuer"], account, utc_now(), save_url=save_url)
        assert (await egress.request("GET", link.url, b"", {})).status == 200
        keys = await egress.request("GET", facts["google_url"] + "/gp/m/issuer/keys", b"", {})

        async def callback() -> Any:
            body = await asyncio.wait_for(came.get(), SLOW)
            return verify_callback(body, facts["google_issuer"], read_root_keys(keys.answer), utc_now())

        object_id = f"{facts['google_issuer']}.{PATIENT.serial}"
        assert msgspec.structs.replace(
            await callback(), nonce="", exp_time_millis=0
        ) == msgspec.structs.replace(
            await deletion(egress, facts["google_url"], object_id, callback),
            nonce="",
            exp_time_millis=0,
            event_type="save",
        )
        assert (await egress.request("GET", link.url, b"", {})).status == 200
        assert (await google.add_message(PATIENT, "pn-1", "Praxis", "Hello")).verdict == "done"
        assert await running.said() == {"who": object_id, "what": "screen", "text": "Praxis: Hello"}


async def deletion(egress: Egress, url: str, object_id: str, callback: Any) -> Any:
    assert (await egress.request("DELETE", f"{url}/emulator/saved/{object_id}", b"", {})).status == 200
    said = await callback()
    assert said.event_type == "del"
    return said


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


async def test_the_files_are_kept_from_one_run_to_the_next(tmp_path: Path) -> None:
    async with emulator(tmp_path) as running:
        before = contents(tmp_path)
        account = load_account(running.file("google_account_file"))
    async with emulator(tmp_path) as running:
        again = load_account(running.file("google_account_file"))
        assert again.key.public_key() == account.key.public_key()
    before.pop("google-account.json")  # it names the port
    assert before.items() <= contents(tmp_path).items()


def test_a_file_that_is_damaged_is_told(tmp_path: Path) -> None:
    (tmp_path / "google-account.json").write_text("{}")
    assert "google-account.json is not the JSON file" in refused(
        inside("wallet", "emulator", "--certificates", tmp_path, "--apns-port", 0, "--google-port", 0)
    )


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"kept": 1, "kinds": {}, "holders": {}}'])
def test_what_google_was_given_is_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / "google-passes.json").write_text(content)
    assert "google-passes.json is damaged: remove it" in refused(
        inside("wallet", "emulator", "--certificates", tmp_path, "--apns-port", 0, "--google-port", 0)
    )


async def test_a_pass_is_loaded_from_its_address(tmp_path: Path) -> None:
    assert inside("wallet", "certificates", "create-test", "--out", tmp_path).returncode == 0
    async with (
        passkit(signer_of(tmp_path)) as service,
        emulator(tmp_path, "--add", f"{service.url}/pass.pkpass") as running,
    ):
        assert await running.said() == {"who": "phone 1", "what": "added", "text": "pass.pkpass"}
        assert len(service.registered) == 1


async def test_phones_leave_when_it_ends(tmp_path: Path) -> None:
    assert inside("wallet", "certificates", "create-test", "--out", tmp_path).returncode == 0
    async with passkit(signer_of(tmp_path)) as service:
        phones = ["--add", f"{service.url}/pass.pkpass", "--phone", "en", "--phone", "de"]
        async with emulator(tmp_path, *phones) as running:
            for _ in range(2):
                await running.said()
            assert len(service.registered) == 2
        assert service.registered == {}


async def test_it_ends_though_the_server_has_ended_before(tmp_path: Path) -> None:
    assert inside("wallet", "certificates", "create-test", "--out", tmp_path).returncode == 0
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(passkit(signer_of(tmp_path)))
        async with emulator(tmp_path, "--add", f"{service.url}/pass.pkpass") as running:
            await running.said()
            await stack.aclose()
        assert (await running.said())["text"].startswith("unregistering was answered ")


async def test_a_folder_is_one_emulator_s(tmp_path: Path) -> None:
    async with emulator(tmp_path):
        before = contents(tmp_path)
        done = rxdesk("wallet", "emulator", "--certificates", tmp_path, "--apns-port", 0, "--google-port", 0)
        assert "is in use by a demo or an emulator that is running" in refused(done)
        assert contents(tmp_path) == before


def test_another_service_account_is_not_written_over(tmp_path: Path) -> None:
    file = write_account(tmp_path, "http://127.0.0.1:9")
    own = {**json.loads(file.read_text()), "client_email": "wallet@example.iam.example.com"}
    file.write_text(json.dumps(own))
    done = inside("wallet", "emulator", "--certificates", tmp_path, "--apns-port", 0, "--google-port", 0)
    assert "google-account.json is another service account's" in refused(done)
    assert json.loads(file.read_text()) == own


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("none.pkpass", "none.pkpass)"),
        ("http://127.0.0.1:9/geheim/pass.pkpass", "the pass's address was answered connect"),
        ("https://192.0.2.1/geheim/pass.pkpass", "a pass is loaded from this machine only"),
    ],
)
def test_what_cannot_be_added_is_told(tmp_path: Path, added: str, said: str) -> None:
    ports = ("--apns-port", 0, "--google-port", 0)
    done = inside("wallet", "emulator", "--certificates", tmp_path, *ports, "--add", added)
    assert said in refused(done)
    assert "geheim" not in done.stderr
