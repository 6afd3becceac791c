"""The double of Google's Wallet API on the wire: plain HTTP on loopback, in a thread of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from rxdesk.wallet.emulator.callbacks import CallbackSigner
from rxdesk.wallet.emulator.google import HOLDER, TOKEN_PATH, GoogleDouble

KEYS_PATH = "/gp/m/issuer/keys"
# Not Google's: what a holder does on the phone.
HOLDER_PATH = "/emulator/saved/"
_LONGEST_BODY = 1 << 20


class GoogleServer:
    """Serves a double, one request at a time, and the keys with which its callbacks are signed.

    `deliver` is called with address and body of each callback, from a thread of the server's.
    """

    def __init__(
        self,
        double: GoogleDouble,
        signer: CallbackSigner,
        deliver: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self.double = double
        self.signer = signer
        self.deliver = deliver
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def start(self, address: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; give the address that stands for Google's."""
        outer = self

        class Handler(_Handler):
            owner = outer

        self._server = ThreadingHTTPServer((address, port), Handler)
        self.url = f"http://{address}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self.url

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def answer(self, method: str, target: str, authorization: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Answer a request."""
        split = urlsplit(target)
        path, holder = split.path, parse_qs(split.query).get("authuser", [HOLDER])[0]
        if (method, path) == ("GET", KEYS_PATH):
            return 200, self.signer.published()
        with self._lock:
            if method == "DELETE" and path.startswith(HOLDER_PATH):
                return self._delete(unquote(path.removeprefix(HOLDER_PATH)), holder)
            answer = self.double.answer(method, path, authorization, body, self.url + TOKEN_PATH, holder)
            for object_id in answer[1].get("saved", []):
                self._call_back("save", object_id)
            return answer

    def _delete(self, object_id: str, holder: str) -> tuple[int, dict[str, Any]]:
        if not self.double.forget(object_id, holder):
            return 404, {}
        self._call_back("del", object_id)
        return 200, {}

    def _call_back(self, event: Literal["save", "del"], object_id: str) -> None:
        url = self.double.callback_url(object_id)
        if url is None or self.deliver is None:
            return
        class_id = self.double.kept[object_id]["classId"]
        issuer, now = self.double.issuer, self.double.clock()
        self.deliver(url, self.signer.callback(event, class_id, object_id, issuer, now))


class _Handler(BaseHTTPRequestHandler):
    owner: GoogleServer
    protocol_version = "HTTP/1.1"

    def _respond(self) -> None:
        length = self.headers.get("Content-Length", "0")
        size = int(length) if length.isascii() and length.isdecimal() else _LONGEST_BODY + 1
        if size > _LONGEST_BODY:
            self.close_connection = True
            self._send(413, {})
            return
        body = self.rfile.read(size)
        authorization = self.headers.get("Authorization", "")
        self._send(*self.owner.answer(self.command, self.path, authorization, body))

    def _send(self, status: int, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _respond  # noqa: N815 - named by the base class

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's signature
        """Say nothing: paths hold tokens."""
