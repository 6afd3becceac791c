"""Until when Apple's certificate is good: a metric, and a line of `rxdesk check`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from tests.api.public.pushing import settings_of
from tests.cli.processes import inside
from tests.conftest import start_live, stop_live
from tests.ports import free_port
from tests.wallet.cards import PASS_TYPE, TEAM

from rxdesk.db import embedded
from rxdesk.kit.clock import utc_now
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
    [(1, "✓", "days"), (350, "✗", "it runs out in"), (400, "✗", "it has run out")],
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
