"""No forbidden address gets a connection, by whatever entry point (see policy_namespace for how that is seen)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.processes import environment

from rxdesk.db import embedded

# The worker in the namespace would make deliveries that others have left.
pytestmark = pytest.mark.usefixtures("queue")

ROOT = Path(__file__).parents[2]
UNSHARE = shutil.which("unshare") or ""


def namespace() -> None:
    """Skip, with the reason, where no network namespace can be made; with CI=true lacking programs are a failure."""
    reason, installable = "", False
    if not sys.platform.startswith("linux"):
        reason = "network namespaces are Linux's"
    elif not (shutil.which("ip") and UNSHARE):
        reason, installable = (
            "ip and unshare are not there (Debian: apt-get install iproute2 util-linux)",
            True,
        )
    else:
        tried = subprocess.run(
            [UNSHARE, "-n", "ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False
        )
        if tried.returncode:
            reason = f"no network namespace can be made: {tried.stderr.strip()}"
    if not reason:
        return
    if os.environ.get("CI") == "true" and installable:
        pytest.fail(reason)
    pytest.skip(f"the address policy is not proven here: {reason}")


def run(cluster: embedded.Address, folder: Path, *more: str) -> dict[str, Any]:
    done = subprocess.run(
        [
            UNSHARE,
            "-n",
            sys.executable,
            "-m",
            "tests.webhooks.policy_namespace",
            str(cluster.socket_dir),
            str(folder),
            *more,
        ],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_no_forbidden_address_is_ever_connected_to(cluster: embedded.Address, tmp_path: Path) -> None:
    namespace()
    found = run(cluster, tmp_path)
    assert len(found["listeners_reached"]) == 20, "a listener that is not there would see nothing"
    assert found["targets"] >= 140
    assert found["accepted_forbidden"] == {}
    assert found["let_through"] == []
    hosts = (
        found["targets"] - 8
    )  # the rebinding ones are accepted when they are made, and refused when called
    assert found["refused"] == {
        "create": hosts,
        "test": hosts,
        "deliver": found["targets"],
        "replay": found["targets"],
    }
    assert found["redirects"] == ["redirect", "redirect"]
    allowed = ["93.184.216.34", "8.8.8.8", "[2606:2800:220:1::1]", "public.test", "public-six.test"]
    assert found["allowed"] == {"create": allowed, "test": allowed, "deliver": allowed}


def test_a_judge_that_admits_everything_would_be_found(cluster: embedded.Address, tmp_path: Path) -> None:
    namespace()
    found = run(cluster, tmp_path, "--planted")
    assert len(found["accepted_forbidden"]) > 10
    assert found["let_through"]
