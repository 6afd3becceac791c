"""The address policy against listeners on every address there is; run inside a network namespace of its own.

    unshare -n python -m tests.webhooks.policy_namespace SOCKET_FOLDER WORK_FOLDER [--planted]

In the namespace every address of IPv4 and IPv6 is this machine's, and listeners on all of them see each connection and
where it went. Each target is given to every entry point. Prints what was found as JSON. `--planted` lets the judge
admit everything, which must be seen.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
import secrets
import shutil
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from cryptography import x509
from tests.api.operations.webhooks.conftest import BASE as OPERATIONS
from tests.api.operations.webhooks.conftest import Operations, subscription
from tests.api.webhooks.receivers import make_pki
from tests.conftest import FixedClock, InProcess, in_process
from tests.factories import Tenant
from tests.kit.test_egress_policy import FORBIDDEN_HOSTS, FORBIDDEN_NAMES
from tests.webhooks.engine import eventually, worker

from rxdesk.db import embedded
from rxdesk.kit import egress as egress_module
from rxdesk.kit import targets as targets_module
from rxdesk.kit.addresses import judge
from rxdesk.organisations import commands

PORT = 8443
PUBLIC = ("93.184.216.34", "8.8.8.8", "2606:2800:220:1::1")
PUBLIC_NAMES = {"public.test": ["93.184.216.34"], "public-six.test": ["2606:2800:220:1::1"]}
# Targets whose answers change between two look-ups: the first is judged, the second must not be connected to.
REBINDING = {
    f"rebinding-{number}.test": to
    for number, to in enumerate(
        (
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
        )
    )
}
KIND = "order_updated"


@dataclass
class Seen:
    """Connections that were accepted, by the address that they went to."""

    to: Counter[str] = field(default_factory=Counter)

    def forbidden(self) -> dict[str, int]:
        return {address: count for address, count in self.to.items() if judge(address) is not None}


class Names:
    """A resolver: the forbidden names, the public ones, and those whose second answer is another."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    async def __call__(self, name: str, port: int) -> Sequence[str]:
        self.asked[name] += 1
        if name in PUBLIC_NAMES:
            return PUBLIC_NAMES[name]
        if name in REBINDING:
            return [PUBLIC[0]] if self.asked[name] == 1 else [REBINDING[name]]
        return await FORBIDDEN_NAMES(name, port)


def own_every_address() -> None:
    """Make every address this namespace's own."""
    for arguments in (
        "link set lo up",
        "route add local 0.0.0.0/0 dev lo",
        "-6 route add local ::/0 dev lo",
    ):
        subprocess.run([shutil.which("ip") or "", *arguments.split()], check=True, capture_output=True)


@contextlib.asynccontextmanager
async def listeners(tls: ssl.SSLContext, seen: Seen) -> AsyncIterator[None]:
    """Listen on all addresses at the ports that targets name; an answer redirects to a forbidden address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Counted before TLS begins, so that a connection that is given up in the handshake counts too.
        name = writer.get_extra_info("sockname")
        seen.to[name[0].partition("%")[0]] += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            if name[1] == PORT:
                await writer.start_tls(tls)
                request = await reader.readuntil(b"\r\n\r\n")
                status = b"200 OK"
                if b" /redirect" in request:
                    status = b"301 Moved Permanently\r\nLocation: https://127.0.0.1:8443/"
                writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
        writer.transport.abort()

    servers = [
        await asyncio.start_server(serve, host, port)
        for host in ("0.0.0.0", "::")  # noqa: S104 - in a namespace of its own
        for port in (PORT, 443, 80)
    ]
    try:
        yield
    finally:
        for server in servers:
            server.close()
        await asyncio.sleep(0)


@dataclass
class Round:
    """All that the entry points need, and what they answered."""

    running: InProcess
    tenant: Tenant
    headers: dict[str, str]
    refused: Counter[str] = field(default_factory=Counter)
    let_through: list[str] = field(default_factory=list)

    def note(self, entry: str, target: str, *, refused: bool) -> None:
        self.refused[entry] += refused
        if not refused:
            self.let_through.append(f"{entry} {target}")

    async def create(self, target: str) -> None:
        body = {"notification_type": KIND, "target": target}
        answer = await self.running.client.post(
            "/notification-subscriptions", json=body, headers=self.headers
        )
        self.note("create", target, refused=answer.status_code in (400, 422))
        if answer.status_code == 201:
            uid, now = answer.json()["uid"], self.running.clock()
            await self.tenant.update("notification_subscriptions", uid, deactivated_at=now)

    async def test(self, target: str) -> None:
        body = {"target_url": target}
        answer = await self.running.client.post(
            "/notification-subscriptions/test", json=body, headers=self.headers
        )
        self.note("test", target, refused=answer.status_code in (400, 422))

    async def deliver(self, target: str, number: int) -> None:
        """A subscription that stands there from a time of another policy: its event is delivered, then replayed."""
        clock = self.running.clock
        ns = await subscription(self.tenant, f"ns-{number}", KIND, clock(), target)
        await Operations(self.running).happen(self.tenant, KIND, f"ord-{number}")
        await self._attempt("deliver", ns, target, 1)
        body = {"since": int(clock().timestamp()), "subscription_uid": ns, "all": True}
        answer = await self.running.client.post(
            f"http://test{OPERATIONS}/deliveries/replay", json=body, headers=self.headers
        )
        assert answer.json()["armed"] == 1, answer.text
        await self._attempt("replay", ns, target, 2)
        await self.tenant.update("notification_subscriptions", ns, deactivated_at=clock())
        clock.moment += timedelta(seconds=1)

    async def _attempt(self, entry: str, ns: str, target: str, number: int) -> None:
        error = await attempted(self.tenant, ns, number)
        self.note(entry, f"{target} {error}", refused=error == "forbidden")


async def attempted(tenant: Tenant, ns: str, number: int = 1) -> str | None:
    """Wait until the worker has recorded an attempt for a subscription; give its error."""
    found: list[dict[str, Any]] = []

    async def recorded() -> bool:
        found[:] = await tenant.rows(
            "SELECT a.error FROM deliveries d "
            "JOIN delivery_attempts a ON a.organisation_id = $1 AND a.delivery_uid = d.uid AND a.number = $3 "
            "WHERE d.organisation_id = $1 AND d.subscription_uid = $2",
            ns,
            number,
        )
        return bool(found)

    await eventually(recorded, 10, lambda: ns)
    error: str | None = found[0]["error"]
    return error


async def new_tenant(connection: Any) -> Tenant:
    slug = f"policy-{secrets.token_hex(6)}"
    return Tenant(
        await commands.create_organisation(connection, slug=slug, display_name="Policy"), connection
    )


def admit_everything() -> None:
    """The planted fault: a judge that has nothing against any address."""

    def admit(addresses: Sequence[Any], *_: object) -> list[Any]:
        return [ipaddress.ip_address(str(one).partition("%")[0]) for one in addresses]

    targets_module.admit = admit  # type: ignore[assignment]
    if hasattr(egress_module, "admit"):
        egress_module.admit = admit


async def control(seen: Seen) -> list[str]:
    """Connect to addresses of every forbidden kind without a judge: each listener must be there."""
    found = []
    for host in (
        "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254",
        "168.63.129.16", "198.18.0.1", "192.0.2.1", "240.0.0.1", "::1", "fd00::1", "fc00::1", "fec0::1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "2001::1", "fd00:ec2::254", "2001:db8::1",
    ):  # fmt: skip
        before = sum(seen.to.values())
        with contextlib.suppress(OSError):
            async with asyncio.timeout(2):
                _, writer = await asyncio.open_connection(host, 80)
                writer.close()
        await asyncio.sleep(0.01)
        if sum(seen.to.values()) > before:
            found.append(host)
    return found


async def rounds(cluster: embedded.Address, folder: Path, hosts: Sequence[str]) -> dict[str, Any]:
    """Go through all targets and entry points."""
    seen = Seen()
    also: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(one)) for one in PUBLIC]
    also += [x509.DNSName(name) for name in (*PUBLIC_NAMES, *REBINDING)]
    pki = make_pki(folder, *also)
    resolver = Names()
    connection = await asyncpg.connect(**cluster.connect_args(embedded.APP))
    settings: dict[str, Any] = {
        "egress_allow": "",
        "egress_ca_file": str(pki.ca_file),
        "delivery_timeout_seconds": 2.0,
        "delivery_connect_seconds": 0.5,
    }
    clock = FixedClock(datetime.now(UTC))
    async with (
        listeners(pki.good, seen),
        in_process(cluster, clock, resolver, **settings) as running,
        worker(cluster, clock=clock, resolver=resolver, **settings),
    ):
        reached = await control(seen)
        seen.to.clear()
        tenant = await new_tenant(connection)
        headers = await tenant.headers()
        forbidden = Round(running, tenant, headers)
        for number, host in enumerate(hosts):
            target = f"https://{host}:{PORT}/"
            await forbidden.create(target)
            await forbidden.test(target)
            await forbidden.deliver(target, number)
        # Names whose second look-up leads elsewhere: accepted when they are stored, refused when they are called.
        for number, name in enumerate(REBINDING, start=len(hosts)):
            body = {"notification_type": KIND, "target": f"https://{name}:{PORT}/"}
            made = await running.client.post("/notification-subscriptions", json=body, headers=headers)
            assert made.status_code == 201, made.text
            await tenant.update(
                "notification_subscriptions", made.json()["uid"], deactivated_at=running.clock()
            )
            await forbidden.deliver(f"https://{name}:{PORT}/", number)
        redirects = await _redirects(running, tenant)
        breaches = seen.forbidden()
        allowed = await _allowed(running, connection, seen)
    await connection.close()
    return {
        "targets": len(hosts) + len(REBINDING),
        "listeners_reached": reached,
        "refused": dict(forbidden.refused),
        "let_through": forbidden.let_through,
        "redirects": redirects,
        "accepted_forbidden": breaches,
        "allowed": allowed,
    }


async def _redirects(running: InProcess, tenant: Tenant) -> list[str | None]:
    found: list[str | None] = []
    for number, host in enumerate((PUBLIC[0], "public.test")):
        target = f"https://{host}:{PORT}/redirect"
        ns = await subscription(tenant, f"ns-redirect-{number}", KIND, running.clock(), target)
        await Operations(running).happen(tenant, KIND)
        found.append(await attempted(tenant, ns))
        await tenant.update("notification_subscriptions", ns, deactivated_at=running.clock())
    return found


async def _allowed(running: InProcess, connection: Any, seen: Seen) -> dict[str, list[str]]:
    """The same ways lead to allowed hosts."""
    found: dict[str, list[str]] = {"create": [], "test": [], "deliver": []}
    hosts = [f"[{one}]" if ":" in one else one for one in PUBLIC] + list(PUBLIC_NAMES)
    for host in hosts:
        tenant = await new_tenant(connection)
        headers = await tenant.headers()
        target = f"https://{host}:{PORT}/ok"
        body = {"notification_type": KIND, "target": target}
        made = await running.client.post("/notification-subscriptions", json=body, headers=headers)
        if made.status_code == 201:
            found["create"].append(host)
        answer = await running.client.post(
            "/notification-subscriptions/test", json={"target_url": target}, headers=headers
        )
        if answer.status_code == 200 and answer.json()["success"]:
            found["test"].append(host)
        before = sum(seen.to.values())
        await Operations(running).happen(tenant, KIND)
        if await attempted(tenant, made.json()["uid"]) is None and sum(seen.to.values()) > before:
            found["deliver"].append(host)
    return found


def main() -> int:
    """Run it and print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sockets", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--planted", action="store_true")
    arguments = parser.parse_args()
    own_every_address()
    hosts = FORBIDDEN_HOSTS
    if arguments.planted:
        admit_everything()
        hosts = hosts[::6]
    found = asyncio.run(rounds(embedded.Address(arguments.sockets), arguments.folder, hosts))
    print(json.dumps(found))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
