"""Signatures in CMS: made here, verified here and by openssl; changed anywhere, they are refused."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from rxdesk.kit import der
from rxdesk.kit.cms import SignatureError, verify_detached
from rxdesk.wallet.apple.certificates import load_signer
from rxdesk.wallet.apple.trial import create_chain

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
OPENSSL = shutil.which("openssl") or ""
CONTENT = b"some content"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cms")
    create_chain(folder, "pass.x", "T", NOW)
    return folder


def signed(folder: Path, moment: datetime = NOW) -> bytes:
    signer = load_signer(folder / "pass.pem", folder / "pass.key", folder / "intermediate.pem")
    return signer.signer.sign(CONTENT, moment)


def root(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "root.pem").read_bytes())


def test_ours_is_verified(folder: Path) -> None:
    certificate, moment = verify_detached(CONTENT, signed(folder), root(folder))
    assert certificate.subject.rfc4514_string().startswith("OU=T")
    assert moment == NOW


def test_openssl_s_is_verified(folder: Path) -> None:
    (folder / "content").write_bytes(CONTENT)
    command = [OPENSSL, "smime", "-sign", "-binary", "-md", "sha256", "-in", "content"]
    keys = ["-signer", "pass.pem", "-inkey", "pass.key", "-certfile", "intermediate.pem"]
    output = ["-outform", "DER", "-out", "signature"]
    subprocess.run([*command, *keys, *output], cwd=folder, check=True)
    # openssl signs at the present instant: the chain of this one is valid from March 2026 for a year.
    signature = (folder / "signature").read_bytes()
    try:
        verify_detached(CONTENT, signature, root(folder))
    except SignatureError as error:
        assert "was not valid when" in str(error)  # noqa: PT017 - all before it has been verified


def test_each_changed_byte_is_refused(folder: Path) -> None:
    signature, top = signed(folder), root(folder)
    accepted = []
    for position in range(len(signature)):
        changed = bytearray(signature)
        changed[position] ^= 1
        with contextlib.suppress(SignatureError):
            verify_detached(CONTENT, bytes(changed), top)
            accepted.append(position)
    # A certificate's own signature is bits; whether the last one, when it is 0, is said to be unused is all one.
    assert all(signature[position] == 0 and signature[position + 1] == 0x30 for position in accepted)
    with pytest.raises(SignatureError, match="not the one that was signed"):
        verify_detached(CONTENT + b"!", signature, top)


def test_a_foreign_root_and_a_wrong_time_are_refused(folder: Path, tmp_path: Path) -> None:
    create_chain(tmp_path, "pass.x", "T", NOW)
    with pytest.raises(SignatureError, match="does not lead to the root"):
        verify_detached(CONTENT, signed(folder), root(tmp_path))
    for moment in (NOW - timedelta(seconds=1), NOW + timedelta(days=366)):
        with pytest.raises(SignatureError, match="was not valid when"):
            verify_detached(CONTENT, signed(folder, moment), root(folder))


@pytest.mark.parametrize(
    "rubbish", [b"", b"0", b"\x30\x00", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x1f" * 9]
)
def test_rubbish_is_refused(folder: Path, rubbish: bytes) -> None:
    with pytest.raises(SignatureError):
        verify_detached(CONTENT, rubbish, root(folder))


def test_der_is_written_as_it_should() -> None:
    assert der.write_identifier("1.2.840.113549.1.7.2").hex() == "06092a864886f70d010702"
    assert [der.write_integer(value).hex() for value in (0, 127, 128, 256)] == [
        "020100",
        "02017f",
        "02020080",
        "02020100",
    ]
    assert der.write(der.OCTET_STRING, b"x" * 300)[:4].hex() == "0482012c"
    assert der.write_utc_time(NOW)[2:] == b"260301120000Z"
    with pytest.raises(der.DerError):
        der.write_utc_time(datetime(2050, 1, 1, tzinfo=UTC))
