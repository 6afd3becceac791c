"""The double of Google's Wallet API on the wire: plain HTTP on loopback, in a thread of its own."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

from rxdesk.wallet.emulator import google_page
from rxdesk.wallet.emulator.callbacks import CallbackSigner
from rxdesk.wallet.emulator.google import HOLDER, GoogleDouble
from rxdesk.wallet.emulator.google_account import KEYS_PATH, SAVE_PATH, TOKEN_PATH
from rxdesk.wallet.emulator.google_page import Page

# Not Google's: what a holder does on the phone, and sees there.
HOLDER_PATH = "/emulator/saved/"
_LONGEST_BODY = 1 << 20
_OK, _SEE_OTHER, _NONE = 200, 303, 404


class GoogleServer:
    """Serves a double, one request at a time, and the keys with which its callbacks are signed.

    `deliver` is called with address and body of each callback, `changed` after what may have changed something, both
    from a thread of the server's.
    """

    def __init__(
        self,
        double: GoogleDouble,
        signer: CallbackSigner,
        deliver: Callable[[str, bytes], None] | None = None,
        changed: Callable[[], None] | None = None,
    ) -> None:
        self.double = double
        self.signer = signer
        self.deliver = deliver
        self.changed = changed
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def start(self, listener: socket.socket | None = None) -> str:
        """Listen on loopback, or serve a socket that does; give the address that stands for Google's."""
        outer = self

        class Handler(_Handler):
            owner = outer

        listener = listener or socket.create_server(("127.0.0.1", 0))
        self._server = ThreadingHTTPServer(listener.getsockname(), Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listener
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
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
                answer = self._delete(unquote(path.removeprefix(HOLDER_PATH)), holder)
            else:
                answer = self.double.answer(method, path, authorization, body, self.url + TOKEN_PATH, holder)
            for object_id in answer[1].get("saved", []):
                self._call_back("save", object_id)
            if self.changed is not None and (method != "GET" or "saved" in answer[1]):
                self.changed()
            return answer

    def show(self, method: str, target: str) -> tuple[int, Page, str | None]:
        """Answer a holder's browser, after what it asks for is done: status, page, and where to go instead."""
        path = urlsplit(target).path
        saves = path.startswith(SAVE_PATH)
        if saves or method == "POST":
            status, said = self.answer("GET" if saves else "DELETE", target, "", b"")
            if status != _OK:
                return status, google_page.refused(said.get("error", {}).get("message", "")), None
            return _SEE_OTHER, Page("", ""), f"{HOLDER_PATH}{quote(said['saved'][0])}" if saves else path
        with self._lock:
            shown = google_page.of_pass(self.double, unquote(path.removeprefix(HOLDER_PATH)))
        return (
            (_NONE, google_page.refused("there is no such pass"), None)
            if shown is None
            else (_OK, shown, None)
        )

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
        by_holder = self.path.startswith((f"{SAVE_PATH}/", HOLDER_PATH))
        if by_holder and "text/html" in self.headers.get("Accept", ""):
            self._show(*self.owner.show(self.command, self.path))
            return
        authorization = self.headers.get("Authorization", "")
        self._send(*self.owner.answer(self.command, self.path, authorization, body))

    def _send(self, status: int, document: dict[str, Any]) -> None:
        self._write(status, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _show(self, status: int, page: Page, where: str | None) -> None:
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": page.policy}
        self._write(status, page.content.encode(), headers | ({} if where is None else {"Location": where}))

    def _write(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who asked has gone
            self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _respond  # noqa: N815 - named by the base class

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's signature
        """Say nothing: paths hold tokens."""
