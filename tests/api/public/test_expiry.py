"""Apple's settings are judged before the start; until when its certificate is good is a metric and a line of check."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from tests.api.public.pushing import settings_of
from tests.cli.processes import inside
from tests.conftest import settings_for, start_live, stop_live
from tests.ports import free_port
from tests.wallet.cards import PASS_TYPE, TEAM

from rxdesk.db import embedded
from rxdesk.kit.clock import utc_now
from rxdesk.preflight import check_settings
from rxdesk.settings import SettingsError
from rxdesk.wallet.apple.certificates import expiry_of
from rxdesk.wallet.apple.trial import TrialFiles, create_chain

METRIC = "rxdesk_apple_certificate_expiry_timestamp_seconds"


async def test_the_metric(cluster: embedded.Address, today: TrialFiles) -> None:
    port = free_port()
    server = start_live(cluster, metrics_port=port, **settings_of(today))
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            await client.get(f"{server.url}/livez")
            page = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    finally:
        stop_live(server)
    [line] = [line for line in page.splitlines() if line.startswith(METRIC)]
    assert float(line.rpartition(" ")[2]) == expiry_of(today.pass_certificate).timestamp()


@pytest.mark.parametrize(
    ("age", "mark", "said"),
    [
        (1, "✓", "days"),
        (350, "✗", "it runs out in"),
        (400, "✗", "it has run out"),
        (-5, "✗", "it is good only from"),
    ],
)
def test_the_check(tmp_path: Path, age: int, mark: str, said: str) -> None:
    files = create_chain(tmp_path / "chain", PASS_TYPE, TEAM, utc_now() - timedelta(days=age))
    env = {
        "RXDESK_DATA_DIR": str(tmp_path / "none"),
        "RXDESK_APPLE_CERTIFICATE_FILE": str(files.pass_certificate),
        "RXDESK_APPLE_KEY_FILE": str(files.pass_key),
        "RXDESK_APPLE_INTERMEDIATE_FILE": str(files.intermediate),
    }
    done = inside("check", "--port", 0, **env)
    [line] = [line for line in done.stdout.splitlines() if "Apple's certificate" in line]
    assert line.startswith(f"{mark} Apple's certificate: {PASS_TYPE}, until ")
    assert said in line


@pytest.mark.parametrize(
    "url",
    ["", "api.push.apple.com", "http://api.push.apple.com", "https://", "https://api.push.apple.com?x=1"],
)
def test_where_pushes_go_is_of_its_form(url: str) -> None:
    with pytest.raises(SettingsError, match=r"apple_push_url is wrong: .* https://api\.push\.apple\.com"):
        check_settings(settings_for(apple_push_url=url))


@pytest.mark.parametrize("url", ["https://user:word@passes.example", "https://user@passes.example"])
def test_an_address_that_holders_are_given_names_no_user(url: str) -> None:
    with pytest.raises(SettingsError, match=r"public_url is wrong: .* https://passes\.example") as refused:
        check_settings(settings_for(public_url=url))
    assert "word" not in str(refused.value)


@pytest.mark.parametrize("url", ["https://api.sandbox.push.apple.com:2197", "https://127.0.0.1:2197/"])
def test_pushes_may_go_elsewhere(url: str) -> None:
    check_settings(settings_for(apple_push_url=url))
