"""The demo's wallet passes: a push notification, from the line that is printed to a phone's lock screen."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import zipfile
from pathlib import Path
from typing import Any

import httpx
from tests.cli.processes import Server, inside, refused, rxdesk, serving, until
from tests.ports import free_port

from rxdesk.kit.files import kept_from_others
from rxdesk.wallet.emulator.google_account import write_account

NOTIFICATIONS = "/wallet-passes/push-notifications"


def uid_of(server: Server) -> str:
    uid: str = server.ready["organisations"][0]["samples"]["wallet_pass_uid"]
    return uid


def push(server: Server, message: str) -> None:
    body = [{"wallet_pass_uid": uid_of(server), "message": message}]
    answer = httpx.post(
        server.url + NOTIFICATIONS, json=body, headers={"X-API-Key": server.key()}, trust_env=False
    )
    assert answer.json()["data"][0]["status"] == "queued", answer.text


def told(server: Server) -> dict[str, Any]:
    """What became of the newest push notification."""
    url = server.url.replace("/v1/management", "/v1/operations") + NOTIFICATIONS
    answer = httpx.get(
        url,
        params={"wallet_pass_uid": uid_of(server)},
        headers={"X-API-Key": server.key()},
        trust_env=False,
        timeout=20,
    )
    newest: dict[str, Any] = answer.json()["data"][0]
    return newest


def shows(server: Server, *lines: str) -> None:
    """Wait until the phones' lines are these, in any order of phones, and no more."""
    said: list[str] = []

    def all_there() -> bool:
        said[:] = [line for line in server.output.read_text().splitlines() if line.startswith("phone ")]
        return len(said) >= len(lines)

    until(all_there, 40, f"{len(lines)} lines of phones")
    assert sorted(said) == sorted(lines), server.errors.read_text()


def delivered(server: Server) -> bool:
    newest = told(server)
    return [device["status"] for device in newest["devices"]] == ["delivered_to_device"] * 2


def page_of(server: Server) -> str:
    found = re.search(r"A customer's wallet pass: (\S+)", server.output.read_text())
    assert found is not None
    return found[1]


def test_a_push_notification_arrives_on_both_phones_also_when_their_process_is_killed(copy: Path) -> None:
    with serving("demo", "--data-dir", copy, "--port", 0) as it:
        # The phones may not be up yet: what is sent at once waits for them.
        push(it, "Hallo {first_name}")
        shown = told(it)["message"]
        assert shown.startswith("Hallo ")
        assert "{" not in shown
        shows(it, f"phone 1 shows: {shown}", f"phone 2 shows: {shown}")
        until(lambda: delivered(it), 40, "both phones' delivery")
        assert told(it)["status"] == "delivered_to_device"
        [old] = it.phones()
        old.kill()
        push(it, "Noch da")
        both = [f"phone {number} shows: {text}" for text in (shown, "Noch da") for number in (1, 2)]
        shows(it, *both)
        until(lambda: delivered(it), 40, "both phones' delivery")
        [new] = it.phones()
        assert new.pid != old.pid
        assert "phones_ended" in it.errors.read_text()
        it.process.kill()
        it.process.wait()
        until(lambda: not new.is_running(), 10, "the end of the phones")


def test_verbs_beside_it_sign_and_link_as_its_server_does(copy: Path, tmp_path: Path) -> None:
    with serving("demo", "--data-dir", copy, "--port", 0) as it:
        lines = (copy / "wallet" / "settings.env").read_text().splitlines()
        settings = {name: shlex.split(value)[0] for name, _, value in (line.partition("=") for line in lines)}
        where = ("--data-dir", copy, "--organisation", it.ready["organisations"][0]["slug"], uid_of(it))
        done = inside("wallet", "passes", "export", *where, "--out", tmp_path / "card.pkpass", **settings)
        assert done.returncode == 0, done
        origin = it.url.partition("/v1/")[0]
        with zipfile.ZipFile(tmp_path / "card.pkpass") as file:
            assert json.loads(file.read("pass.json"))["webServiceURL"].startswith(f"{origin}/w/")
        shown = inside("wallet", "passes", "show", *where, "--json", **settings)
        links = json.loads(shown.stdout)["links"]
        assert all(link.startswith(f"{origin}/w/") for link in links.values()), links


def test_its_folder_is_no_other_emulator_s(copy: Path) -> None:
    folder = copy / "wallet"
    verb = ("wallet", "emulator", "--certificates", folder, "--apns-port", 0, "--google-port", 0)
    with serving("demo", "--data-dir", copy, "--port", 0):
        account = (folder / "google-account.json").read_bytes()
        assert "in use by a demo or an emulator that is running" in refused(inside(*verb))
        assert (folder / "google-account.json").read_bytes() == account
    with kept_from_others(folder / "emulator.lock"):  # and the other way round
        assert "in use by a demo or an emulator" in refused(rxdesk("demo", "--data-dir", copy, "--port", 0))


def test_what_comes_while_the_phones_are_away_is_shown_once_at_the_next_start(copy: Path) -> None:
    with serving("demo", "--data-dir", copy, "--port", 0, "--no-worker") as it:
        assert it.phones() == []
        assert "phone" not in it.output.read_text()
        push(it, "Bis gleich")
    with serving("demo", "--data-dir", copy, "--port", 0) as it:
        shows(it, "phone 1 shows: Bis gleich", "phone 2 shows: Bis gleich")
        until(lambda: delivered(it), 40, "both phones' delivery")


def test_the_page_of_the_sample_pass_has_its_look(demo: Server) -> None:
    with httpx.Client(trust_env=False, timeout=20) as client:
        page = client.get(page_of(demo), headers={"Accept-Language": "en"})
        assert page.status_code == 200
        assert "Patient card" in page.text
        assert "#1d5c4a" in page.text
        assert "data:image/png;base64," in page.text
        assert "pass.pkpass" in page.text
        assert client.get(page_of(demo) + "/pass.pkpass").status_code == 200


def test_without_its_own_certificates_it_makes_them_anew_and_a_half_made_folder_does_not_matter(
    copy: Path,
) -> None:
    shutil.rmtree(copy / "wallet")
    (copy / "wallet.new").mkdir()
    (copy / "wallet.new" / "root.pem").write_text("half")
    with serving("demo", "--data-dir", copy, "--port", 0) as it:
        push(it, "Neu")
        shows(it, "phone 1 shows: Neu", "phone 2 shows: Neu")
    assert (copy / "wallet").stat().st_mode & 0o777 == 0o700
    for name in ("pass.key", "server.key", "phone-1.pkpass", "phone-2.pkpass"):
        assert (copy / "wallet" / name).stat().st_mode & 0o777 == 0o600, name


def test_a_folder_of_an_earlier_version_gets_its_looks(copy: Path) -> None:
    file = copy / "demo.json"
    file.write_text(re.sub(r',\s*"pages": \[[^]]*\]', "", file.read_text()))
    assert "pages" not in file.read_text()
    with serving("demo", "--data-dir", copy, "--port", 0, "--no-worker") as it:
        assert httpx.get(page_of(it), trust_env=False, timeout=20).status_code == 200
    assert '"pages"' in file.read_text()


def browser() -> httpx.Client:
    accepted = {"Accept": "text/html", "Accept-Language": "en"}
    return httpx.Client(trust_env=False, timeout=20, follow_redirects=True, headers=accepted)


def google_says(server: Server) -> list[str]:
    return [line for line in server.output.read_text().splitlines() if line.startswith("google ")]


def told_to_google(server: Server, message: str) -> bool:
    """Send a message, wait until nothing of it waits any more, and tell whether Google was among the devices."""
    push(server, message)
    until(lambda: all(one["status"] != "queued" for one in told(server)["devices"]), 40, "the push")
    return "google" in [one["device"] for one in told(server)["devices"]]


def test_a_pass_is_saved_to_google_s_double_and_shows_what_is_sent_also_after_a_restart(copy: Path) -> None:
    port = free_port()  # of the links that the holder has, so the next start needs it too
    with serving("demo", "--data-dir", copy, "--port", port) as it, browser() as holder:
        link = f"{page_of(it)}/google"
        assert f"  {link}\n" in it.output.read_text()
        assert f'href="{link}"' in holder.get(page_of(it)).text
        shown = holder.get(link)
        assert "This pass is saved in the emulated Google Wallet." in shown.text
        until(lambda: told_to_google(it, "Hallo"), 40, "the callback")
        assert google_says(it)[-1].endswith(": Hallo")
        assert "Hallo" in holder.get(shown.url).text
    with serving("demo", "--data-dir", copy, "--port", port) as it, browser() as holder:
        assert told_to_google(it, "Wieder da")
        assert google_says(it)[-1].endswith(": Wieder da")
        here = holder.get(f"{page_of(it)}/google")
        assert "Wieder da" in here.text
        assert "This pass is not in the wallet." in holder.post(here.url).text
        until(lambda: not told_to_google(it, "Noch da?"), 40, "the callback")


def test_an_account_of_your_own_is_used_as_it_is(copy: Path, tmp_path: Path) -> None:
    account = write_account(tmp_path, "http://127.0.0.1:9")
    file = str(account)
    with serving(
        "demo",
        "--data-dir",
        copy,
        "--port",
        0,
        RXDESK_GOOGLE_ACCOUNT_FILE=file,
        RXDESK_GOOGLE_ISSUER="1",
    ) as it:
        assert "double of Google Wallet" not in it.output.read_text()
        assert not (copy / "wallet" / "google-passes.json").exists()
