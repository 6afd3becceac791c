"""Certificates: what is read from them, and what does not belong together."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from tests.cli.processes import inside, refused
from tests.wallet.cards import NOW, PASS_TYPE, TEAM

from rxdesk.wallet.apple.certificates import CertificateError, PassSigner, expiry_of, load_signer
from rxdesk.wallet.apple.trial import TrialFiles, create_chain

OPENSSL = shutil.which("openssl") or ""


def test_type_team_and_end_are_the_certificate_s(signer: PassSigner) -> None:
    assert (signer.pass_type, signer.team) == (PASS_TYPE, TEAM)
    assert signer.expires_at == NOW + timedelta(days=365)


def test_der_and_an_encrypted_key_are_read(chain: TrialFiles, tmp_path: Path) -> None:
    for name, file in (("pass.cer", chain.pass_certificate), ("wwdr.cer", chain.intermediate)):
        subprocess.run([OPENSSL, "x509", "-in", file, "-outform", "DER", "-out", tmp_path / name], check=True)
    subprocess.run(
        [OPENSSL, "pkcs8", "-topk8", "-in", chain.pass_key, "-passout", "pass:geheim", "-out", "key"],
        check=True,
        cwd=tmp_path,
    )
    files = (tmp_path / "pass.cer", tmp_path / "key", tmp_path / "wwdr.cer")
    assert load_signer(*files, password="geheim").team == TEAM
    with pytest.raises(CertificateError, match="opens with the given password") as refusal:
        load_signer(*files, password="falsch")
    assert "falsch" not in str(refusal.value)


def test_what_does_not_belong_together_is_refused(chain: TrialFiles, tmp_path: Path) -> None:
    other = create_chain(tmp_path, PASS_TYPE, TEAM, NOW)
    with pytest.raises(CertificateError, match="is not the key of"):
        load_signer(chain.pass_certificate, other.pass_key, chain.intermediate)
    with pytest.raises(CertificateError, match="RxDesk trial intermediate"):
        load_signer(chain.pass_certificate, chain.pass_key, other.intermediate)
    with pytest.raises(CertificateError, match="no RSA key"):
        load_signer(chain.server_certificate, chain.server_key, chain.root)
    with pytest.raises(CertificateError, match="No such file"):
        load_signer(tmp_path / "none", chain.pass_key, chain.intermediate)
    with pytest.raises(CertificateError, match="holds no certificate"):
        load_signer(chain.pass_key, chain.pass_key, chain.intermediate)


def test_the_verb_writes_a_chain_once(tmp_path: Path) -> None:
    made = json.loads(
        inside("wallet", "certificates", "create-test", "--out", tmp_path / "new", "--json").stdout
    )
    assert stat.S_IMODE(Path(made["pass_key"]).stat().st_mode) == 0o600
    signer = load_signer(Path(made["pass_certificate"]), Path(made["pass_key"]), Path(made["intermediate"]))
    assert signer.expires_at == expiry_of(Path(made["pass_certificate"]))
    assert "exists" in refused(inside("wallet", "certificates", "create-test", "--out", tmp_path / "new"))


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("--pass-type", "pass." + "a" * 251, "at most 255 characters"),
        ("--pass-type", "org.example", "begins with pass."),
        ("--pass-type", "pass.", "begins with pass."),
        ("--team", "", "a team identifier is of 1 to 64 characters"),
        ("--team", "T" * 65, "a team identifier is of 1 to 64 characters"),
    ],
)
def test_names_that_a_certificate_does_not_take_are_refused(
    tmp_path: Path, option: str, text: str, said: str
) -> None:
    done = inside("wallet", "certificates", "create-test", "--out", tmp_path / "new", option, text)
    assert said in refused(done)
    assert not (tmp_path / "new").exists()


def test_the_longest_name_is_taken(tmp_path: Path) -> None:
    name = "pass." + "a" * 250
    files = create_chain(tmp_path, name, "T" * 64, NOW)
    signer = load_signer(files.pass_certificate, files.pass_key, files.intermediate)
    assert (signer.pass_type, signer.team) == (name, "T" * 64)


def test_the_verb_shows_what_has_run_out(chain: TrialFiles, tmp_path: Path) -> None:
    old = create_chain(tmp_path, PASS_TYPE, TEAM, NOW - timedelta(days=800))
    done = inside("wallet", "certificates", "show", old.pass_certificate)
    assert done.returncode == 1
    assert (NOW - timedelta(days=435)).isoformat() in done.stdout
    assert "holds no certificate" in refused(inside("wallet", "certificates", "show", chain.pass_key))
