"""`rxdesk webhooks verify`: whether a signature is right, and where the secret comes from."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.cli.processes import environment, inside, refused

from rxdesk.kit.signing import delivery_headers

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def test_verify(tmp_path: Path) -> None:
    body = b'{"event_type":"order_updated","data":{"uid":"ord-1"}}'
    file = tmp_path / "body.json"
    file.write_bytes(body)
    headers = delivery_headers(
        event_type="order_updated", secret=SECRET, message_id="evt-1", timestamp=int(time.time()), body=body
    )
    given = [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    good = inside("webhooks", "verify", "--secret", SECRET, "--body", file, *given)
    assert (good.returncode, good.stderr) == (0, "")
    assert "BAD" not in good.stdout
    file.write_text(json.dumps(json.loads(body)))
    bad = inside("webhooks", "verify", "--secret", SECRET, "--body", file, *given)
    assert (bad.returncode, bad.stderr) == (1, "")
    assert "BAD  cause: the body was read and written again" in bad.stdout
    as_json = inside("webhooks", "verify", "--secret", SECRET, "--body", file, *given, "--json")
    assert as_json.returncode == 1
    assert json.loads(as_json.stdout)["verified"] is False
    assert "is not of the form" in refused(
        inside("webhooks", "verify", "--secret", SECRET, "--body", file, "--header", "webhook-id")
    )
    for header in ("X-Webhook-Signature: \udcff", "webhook-id: evt\udcff"):
        assert "is not text" in refused(
            inside("webhooks", "verify", "--secret", SECRET, "--body", file, "--header", header)
        )
    long = ["--header", "webhook-timestamp: " + "9" * 5000]
    bad = inside("webhooks", "verify", "--secret", SECRET, "--body", file, *given, *long)
    assert (bad.returncode, bad.stderr) == (1, "")
    assert "webhook-timestamp: is not a number of Unix seconds" in bad.stdout
    assert "No such file" in refused(
        inside("webhooks", "verify", "--secret", SECRET, "--body", tmp_path / "none", "--header", "a: b")
    )


def test_a_secret_need_not_be_an_argument(tmp_path: Path) -> None:
    body = b'{"event_type":"order_updated","data":{"uid":"ord-1"}}'
    for name, content in (("body", body), ("secret", f"{SECRET}\n".encode()), ("bytes", b"\xff")):
        (tmp_path / name).write_bytes(content)
    headers = delivery_headers(
        event_type="order_updated", secret=SECRET, message_id="evt-1", timestamp=int(time.time()), body=body
    )
    given = [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]

    def verify(
        *arguments: object, standard_input: bytes = b"", **env: str
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rxdesk", "webhooks", "verify", *map(str, arguments), *given]
        done = subprocess.run(
            command, input=standard_input, capture_output=True, env=environment(env), check=False
        )
        return subprocess.CompletedProcess(
            command, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    file, of_body = ("--secret-file", tmp_path / "secret"), ("--body", tmp_path / "body")
    piped = SECRET.encode() + b"\n"
    other = "whsec_" + "A" * 43 + "="
    for done in (
        verify(*of_body, *file),
        verify(*of_body, *file, SIGNING_SECRET=other),  # what is named wins
        verify(*of_body, "--secret-file", "-", standard_input=piped),
        verify(*of_body, SIGNING_SECRET=SECRET),
        verify("--body", "-", SIGNING_SECRET=SECRET, standard_input=body),
        verify("--body", "-", *file, standard_input=body),
    ):
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert "BAD" not in done.stdout
    assert verify(*of_body, SIGNING_SECRET=other).returncode == 1
    for done, said in (
        (verify(*of_body), "no secret: set SIGNING_SECRET, or give --secret-file"),
        (verify(*of_body, SIGNING_SECRET=""), "no secret"),
        (verify(*of_body, *file, "--secret", SECRET), "not both"),
        (verify("--body", "-", "--secret-file", "-", standard_input=piped), "cannot both be read from"),
        (verify(*of_body, "--secret-file", tmp_path / "none"), "No such file"),
        (verify(*of_body, "--secret-file", tmp_path / "bytes"), "is not text"),
    ):
        line = refused(done)
        assert said in line
        assert SECRET not in line
    told = " ".join(inside("webhooks", "verify", "--help", NO_COLOR="1", COLUMNS="200").stdout.split())
    assert "SIGNING_SECRET" in told
    assert "lists of processes" in told
