"""The receivers of docs/webhooks.md, each run where its runtime is on the machine."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.cli.processes import until
from tests.ports import free_port

from rxdesk.kit.signing import delivery_headers, new_signing_secret, standard_signature, vendor_signature

PAGE = (Path(__file__).parents[2] / "docs/webhooks.md").read_text("utf-8")
BODY = '{"event_type":"order_updated","data":{"uid":"ord-1","name":"Jürgen 💊"}}'.encode()
OLD, NEW, OTHER = (new_signing_secret(os.urandom) for _ in range(3))
RUNTIMES = {
    "python": [sys.executable, "{file}"],
    "js": ["node", "{file}"],
    "php": ["php", "-S", "{at}", "{file}"],
}


@contextmanager
def running(language: str, folder: Path, secrets: str) -> Iterator[str]:
    """The page's receiver as a process; gives its URL."""
    program = RUNTIMES[language][0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on this machine: the receiver of docs/webhooks.md is not tried")
    [code] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    file = folder / f"receiver.{'py' if language == 'python' else language}"
    file.write_text(code, "utf-8")
    port = free_port()
    command = [part.format(file=file, at=f"127.0.0.1:{port}") for part in RUNTIMES[language]]
    env = {**os.environ, "PORT": str(port), "SECRETS": secrets}
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output, cwd=folder)
    try:
        until(lambda: _answers(port) or process.poll() is not None, 20, program)
        assert process.poll() is None, (folder / "output").read_text()
        yield f"http://127.0.0.1:{port}/hook"
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def signed(secret: str, *, at: int = 0, number: int = 1, body: bytes = BODY) -> dict[str, str]:
    moment = int(time.time()) + at
    return delivery_headers(
        event_type="order_updated", secret=secret, message_id=f"evt-{number}", timestamp=moment, body=body
    )


@pytest.mark.parametrize("language", RUNTIMES)
def test_the_receivers_of_the_page(language: str, tmp_path: Path) -> None:
    with (
        running(language, tmp_path, f"{NEW} {OLD}") as url,
        httpx.Client(trust_env=False, timeout=20) as client,
    ):

        def post(headers: dict[str, str], body: bytes = BODY) -> int:
            return client.post(url, content=body, headers=headers).status_code

        good = signed(NEW)
        assert post(good) == 204
        assert post(good) == 204, "a second time too: it is known, and no failure"
        assert post(signed(OLD, number=2)) == 204
        # While a rotation lasts: two signatures, and the vendor's is the old secret's.
        rotating = signed(NEW, number=3)
        both = [
            standard_signature(one, "evt-3", int(rotating["webhook-timestamp"]), BODY) for one in (NEW, OLD)
        ]
        rotating["webhook-signature"] = " ".join(both)
        rotating["X-Webhook-Signature"] = vendor_signature(OLD, BODY)
        assert post(rotating) == 204
        # And what must be refused.
        assert post(good, BODY + b" ") == 401
        assert post(signed(OTHER)) == 401
        assert post(signed(NEW, at=-301)) == 401
        assert post(signed(NEW, at=330)) == 401, "and time goes on until it is judged"
        assert post({**good, "webhook-id": "evt-2"}) == 401
        assert post({**good, "webhook-timestamp": "soon"}) == 401
        for name in ("X-Webhook-Signature", "webhook-signature"):
            assert post({**good, name: signed(OTHER)[name]}) == 401, name
        for name in ("X-Webhook-Signature", "webhook-signature", "webhook-id", "webhook-timestamp"):
            assert post({key: value for key, value in good.items() if key != name}) == 401, name
    if language != "php":  # which has no memory between requests
        lines = (tmp_path / "output").read_text().splitlines()
        assert [line for line in lines if "order_updated" in line] == ["order_updated ord-1"] * 3
