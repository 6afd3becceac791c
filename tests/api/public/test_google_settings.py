"""The settings of Google Wallet are judged before the start, and by `rxdesk check`."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.api.public.googling import EMAIL, ISSUER, account_file
from tests.cli.processes import inside
from tests.conftest import settings_for

from rxdesk.preflight import check_settings
from rxdesk.settings import SettingsError


@pytest.fixture
def account(account_key: rsa.RSAPrivateKey, tmp_path: Path) -> str:
    return str(account_file(tmp_path, account_key, "https://oauth2.googleapis.com/token"))


def test_both_are_taken_and_neither(account: str) -> None:
    check_settings(settings_for(google_account_file=account, google_issuer=ISSUER))
    check_settings(settings_for())


def test_what_is_wrong_is_refused(account: str, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.json"
    rubbish.write_text('{"private_key": "hush"}')
    wrong = [
        ({"google_account_file": account}, "google_issuer must be the number"),
        ({"google_issuer": ISSUER}, "google_account_file is not set"),
        ({"google_account_file": account, "google_issuer": "me"}, "google_issuer must be the number"),
        ({"google_account_file": account + "x", "google_issuer": ISSUER}, "No such file"),
        ({"google_account_file": str(rubbish), "google_issuer": ISSUER}, "is not the JSON file"),
        ({"google_api_url": "walletobjects"}, "google_api_url is wrong"),
    ]
    for changes, said in wrong:
        with pytest.raises(SettingsError, match=said) as refused:
            check_settings(settings_for(**changes))
        assert "hush" not in str(refused.value)


def test_the_check(account: str, tmp_path: Path) -> None:
    env = {"RXDESK_DATA_DIR": str(tmp_path / "none"), "RXDESK_GOOGLE_ACCOUNT_FILE": account}
    done = inside("check", "--port", 0, **env, RXDESK_GOOGLE_ISSUER=ISSUER)
    assert f"✓ Google's service account: {EMAIL}, for the issuer {ISSUER}" in done.stdout
    done = inside("check", "--port", 0, **env)
    assert "✗ Google's service account: google_issuer must be the number" in done.stdout
