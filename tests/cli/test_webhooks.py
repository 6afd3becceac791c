"""`rxdesk events` and `rxdesk webhooks`, beside a running demo."""

from __future__ import annotations

import http.server
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import standardwebhooks
from tests.cli.conftest import NOBODY
from tests.cli.processes import Server, answer, environment, inside, refused, rxdesk, serving

from rxdesk.cli.triggering import TRIGGERS, UNTRIGGERED
from rxdesk.kit.signing import vendor_signature
from rxdesk.webhooks.events import EVENT_TYPES

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
VERBS = [
    ["events", "list"],
    ["events", "show"],
    ["webhooks", "subscriptions"],
    ["webhooks", "deliveries"],
    ["webhooks", "show"],
    ["webhooks", "retry"],
    ["webhooks", "replay"],
    ["webhooks", "enable"],
    ["webhooks", "disable"],
    ["webhooks", "rotate-secret"],
    ["webhooks", "listen"],
    ["webhooks", "trigger"],
    ["webhooks", "verify"],
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_teaches(verb: list[str]) -> None:
    done = inside(*verb, "--help", NO_COLOR="1", COLUMNS="110")
    assert done.returncode == 0
    assert "Usage: rxdesk " + " ".join(verb) in done.stdout
    assert "rxdesk " + " ".join(verb) in done.stdout.split("Examples")[1]


def at(demo: Server, number: int = 0) -> tuple[str, ...]:
    slug = demo.ready["organisations"][number]["slug"]
    return ("--organisation", slug, "--data-dir", demo.ready["folder"])


def subscribe(demo: Server, kind: str, target: str) -> dict[str, Any]:
    made = httpx.post(
        demo.url + "/notification-subscriptions",
        json={"notification_type": kind, "target": target},
        headers={"X-API-Key": demo.key()},
        trust_env=False,
    )
    assert made.status_code == 201, made.text
    subscription: dict[str, Any] = made.json()
    return subscription


def test_from_a_change_to_its_deliveries(demo: Server) -> None:
    where = at(demo)
    # Lists begin with the oldest, and other tests have made some before.
    earlier = answer(inside("webhooks", "trigger", "order_created", *where, "--json"))["event_uid"]
    since = ("events", "list", "--after", earlier)
    ns = subscribe(demo, "waiting_room_updated", NOBODY)["uid"]
    made = answer(inside("webhooks", "trigger", "waiting_room_updated", *where, "--json"))
    event = answer(inside("events", "show", made["event_uid"], *where, "--json"))
    assert event["event_type"] == "waiting_room_updated"
    assert event["subject_uid"] == made["subject_uid"] == event["body"]["data"]["uid"]
    [delivery] = event["deliveries"]
    assert delivery["subscription_uid"] == ns
    listed = answer(inside(*since, *where, "--type", "waiting_room_updated", "--json"))
    assert made["event_uid"] in [one["uid"] for one in listed["data"]]
    page = answer(inside("webhooks", "deliveries", *where, "--subscription", ns, "--since", "1h", "--json"))
    assert [one["uid"] for one in page["data"]] == [delivery["uid"]]
    shown = answer(inside("webhooks", "show", delivery["uid"], *where, "--json"))
    assert shown["event_uid"] == made["event_uid"]
    armed = answer(inside("webhooks", "retry", delivery["uid"], *where, "--json"))
    assert (armed["uid"], armed["status"]) == (delivery["uid"], "pending")
    replayed = answer(
        inside("webhooks", "replay", *where, "--since", "1h", "--all", "--subscription", ns, "--json")
    )
    assert set(replayed) == {"organisation", "armed"}
    secret = answer(inside("webhooks", "rotate-secret", ns, *where, "--json"))
    assert secret["signing_secret"].startswith("whsec_")
    assert secret["previous_secret_until"] > time.time()
    assert answer(inside("webhooks", "enable", ns, *where, "--json"))["replay"] is None
    for _ in range(2):  # as often as one likes
        assert inside("webhooks", "disable", ns, *where).returncode == 0
    assert "removed" in refused(inside("webhooks", "enable", ns, *where))
    # As tables, each names what a person looks for.
    for verb, named in (
        (since, made["event_uid"]),
        (("events", "show", made["event_uid"]), delivery["uid"]),
        (("webhooks", "deliveries"), delivery["uid"]),
        (("webhooks", "show", delivery["uid"]), made["event_uid"]),
        (("webhooks", "subscriptions"), "waiting_room_updated"),
    ):
        done = inside(*verb, *where)
        assert (done.returncode, done.stderr) == (0, "")
        assert named in done.stdout, verb
    subscriptions = answer(inside("webhooks", "subscriptions", *where, "--json"))
    assert ns in [one["uid"] for one in subscriptions["data"]]
    assert "whsec_" not in json.dumps(subscriptions)


def test_a_list_says_how_it_goes_on(demo: Server) -> None:
    where = at(demo)
    for kind in ("prescription_created", "prescription_updated"):
        subscribe(demo, kind, NOBODY)
        inside("webhooks", "trigger", kind, *where)
    seen = set()
    for page in (0, 1):
        done = inside("webhooks", "subscriptions", *where, "--limit", "1", "--page", page)
        _, row, *rest = done.stdout.splitlines()
        seen.add(row.split()[0])
        if page == 0:
            assert rest[0].endswith(" in all; the next ones: --page 1")
    assert len(seen) == 2
    done = inside("events", "list", *where, "--limit", "1")
    _, row, *rest = done.stdout.splitlines()
    assert rest == [f"There may be more; the next ones: --after {row.split()[0]}"]
    line = inside("webhooks", "deliveries", *where, "--page", "9" * 11).stderr
    assert "--page" in line
    assert "database" not in line


@pytest.mark.parametrize("kind", TRIGGERS)
def test_each_trigger_makes_the_change_that_it_tells_of(demo: Server, kind: str) -> None:
    where = at(demo)
    made = answer(inside("webhooks", "trigger", kind, *where, "--json"))
    event = answer(inside("events", "show", made["event_uid"], *where, "--json"))
    assert (event["event_type"], event["subject_uid"]) == (kind, made["subject_uid"])
    msgspec.convert(event["body"]["data"], EVENT_TYPES[kind].payload, strict=True)


def test_a_placed_order_is_one_that_can_be_sent(demo: Server) -> None:
    where = at(demo)
    for _ in range(60):  # the newest orders, of which one is ordered anew, are without an address
        inside("webhooks", "trigger", "order_created", *where, "--json")
    made = answer(inside("webhooks", "trigger", "pharmacy_order_created", *where, "--json"))
    data = answer(inside("events", "show", made["event_uid"], *where, "--json"))["body"]["data"]
    assert data["status"] == "init"
    assert data["order"]["delivery_address"]["city"]
    [item] = data["order_items"]
    assert item["pharmacy_sku"]["stock"] >= item["amount"]
    changes = answer(inside("pharmacy-orders", "history", data["uid"], *where, "--json"))
    assert [(one["what"], one["new"]) for one in changes] == [("created", "init")]


def test_every_type_can_be_triggered_or_it_is_said_why_not(demo: Server) -> None:
    assert {*TRIGGERS, *UNTRIGGERED} == set(EVENT_TYPES)
    assert not set(TRIGGERS) & set(UNTRIGGERED)
    for kind, why in UNTRIGGERED.items():
        line = refused(inside("webhooks", "trigger", kind, *at(demo)))
        assert line.startswith(f"rxdesk: {kind} cannot be triggered: {why}; these can: ")


def test_what_is_refused_in_one_line(demo: Server) -> None:
    where = at(demo, 1)
    for arguments, said in (
        (("events", "show", "evt-none"), "no such event 'evt-none'"),
        (("events", "list", "--after", "evt-none"), "no such event"),
        (("events", "list", "--type", "order_updatet"), "did you mean order_updated?"),
        (("webhooks", "show", "dlv-none"), "no such delivery"),
        (("webhooks", "retry", "dlv-none"), "no such"),
        (("webhooks", "enable", "ns-none"), "no such"),
        (("webhooks", "disable", "ns-none"), "no such"),
        (("webhooks", "rotate-secret", "ns-none"), "no such"),
        (("webhooks", "rotate-secret", "ns-none", "--overlap", "8d"), "7d at most"),
        (("webhooks", "replay", "--since", "soon"), "is no time"),
        (("webhooks", "replay", "--since", "999999w"), "'999999w' is too far away"),
        (("webhooks", "deliveries", "--until", "999999w"), "is too far away"),
        (("webhooks", "replay", "--since", "1h", "--until", "2h"), "--until must be after --since"),
        (("webhooks", "replay", "--since", "1h", "--subscription", "ns-none"), "no such subscription_uid"),
        (("webhooks", "deliveries", "--status", "lost"), "there are: pending"),
        (("webhooks", "trigger", "nothing"), "there is no event type"),
        (("webhooks", "listen", "--forward-to", "http://10.0.0.1/"), "a program on this machine"),
        (("webhooks", "listen", "--forward-to", "ftp://127.0.0.1/"), "a program on this machine"),
    ):
        assert said in refused(inside(*arguments, *where)), arguments


def test_listening_needs_a_server(copy: Path) -> None:
    line = refused(inside("webhooks", "listen", "--organisation", "lindvara", "--data-dir", copy))
    assert "no server is running" in line


class Program:
    """A receiver that is being written: keeps what came, and answers with a status."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self.goes_on = threading.Event()  # cleared: it stands at a breakpoint
        self.goes_on.set()
        program = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                program.goes_on.wait(20)
                program.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(program.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def program() -> Iterator[Program]:
    made = Program()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield made
    made.goes_on.set()
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@contextmanager
def listening(*arguments: object, **env: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "rxdesk", "webhooks", "listen", *map(str, arguments)],
        env=environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_listening_passes_each_event_on_signed(demo: Server, program: Program) -> None:
    where = at(demo)
    with listening(*where, "--forward-to", program.url, "--json") as process:
        assert process.stdout is not None
        secret = json.loads(process.stdout.readline())["signing_secret"]
        for status in (200, 503):
            program.status = status
            made = answer(rxdesk("webhooks", "trigger", "waiting_room_updated", *where, "--json"))
            heard = json.loads(process.stdout.readline())
            assert heard["event"]["uid"] == made["event_uid"]
            assert heard["forward"]["status_code"] == status
            assert heard["forward"]["error"] == (None if status == 200 else "status")
            headers, body = program.got[-1]
            assert headers["webhook-id"] == made["event_uid"]
            assert headers["x-webhook-signature"] == vendor_signature(secret, body)
            assert standardwebhooks.Webhook(secret).verify(body, headers) == heard["event"]["body"]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert "Traceback" not in (process.stderr.read() if process.stderr else "")


def test_listening_to_a_server_that_ends_says_what_to_do(copy: Path) -> None:
    where = ("--organisation", "lindvara", "--data-dir", copy)
    with serving("demo", "--data-dir", copy, "--port", 0) as server, listening(*where) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        server.process.terminate()
        assert process.wait(20) == 1
        said = process.stderr.read()
    assert said == (
        "rxdesk: the connection to the database has ended: see that the server runs, then listen again\n"
    )


def test_listening_in_words_and_of_one_type(demo: Server) -> None:
    where = at(demo)
    with listening(*where, "--type", "waiting_room_updated", NO_COLOR="1") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Signing secret: whsec_")
        made = answer(rxdesk("webhooks", "trigger", "waiting_room_updated", *where, "--json"))
        line = process.stdout.readline()
        assert "waiting_room_updated" in line
        assert made["event_uid"] in line
        assert made["subject_uid"] in line


def test_an_event_is_told_before_the_program_answers(demo: Server, program: Program) -> None:
    where = at(demo)
    of_one_type = ("--type", "waiting_room_updated", "--forward-to", program.url)
    with listening(*where, *of_one_type, NO_COLOR="1") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Signing secret: whsec_")
        program.goes_on.clear()
        made = []
        for _ in range(2):  # the second one too, though the first is not answered
            made.append(answer(rxdesk("webhooks", "trigger", "waiting_room_updated", *where, "--json")))
            line = process.stdout.readline()
            assert made[-1]["event_uid"] in line
            assert "→" not in line
        assert program.got == []
        program.goes_on.set()
        for one in made:
            line = process.stdout.readline()
            assert line.strip().startswith("→ 200 in ")
            assert line.strip().endswith(one["event_uid"])
    assert [headers["webhook-id"] for headers, _ in program.got] == [one["event_uid"] for one in made]
