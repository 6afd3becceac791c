"""The wheel, installed alone in a new environment, runs the demo."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_new_environment_runs_the_demo(tmp_path: Path) -> None:
    run(
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--wheel",
        "--outdir",
        tmp_path / "dist",
        ROOT,
        cwd=tmp_path,
    )
    (wheel,) = (tmp_path / "dist").glob("rxdesk-*.whl")
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    assert uv, "uv is among the development requirements"
    run(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "env", cwd=tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    pinned = ROOT / "requirements" / "runtime.txt"
    run(uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", pinned, cwd=tmp_path)
    run(uv, "pip", "install", "--quiet", "--python", python, "--no-deps", "--offline", wheel, cwd=tmp_path)

    ready = tmp_path / "ready.json"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("RXDESK_", "PYTHON"))
    }
    command: list[str | Path] = [tmp_path / "env" / "bin" / "rxdesk", "demo", "--port", "0"]
    command += ["--data-dir", tmp_path / "data", "--orders", "50", "--ready-file", ready]
    demo = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        until = time.monotonic() + 90
        while not ready.exists():
            assert demo.poll() is None, demo.communicate()[1].decode()
            assert time.monotonic() < until
            time.sleep(0.05)
        given = json.loads(ready.read_text("utf-8"))
        for organisation in given["organisations"]:
            url = f"{given['base_url']}/orders/{organisation['samples']['order_uid']}"
            answer = httpx.get(url, headers={"X-API-Key": organisation["api_key"]}, trust_env=False)
            assert answer.status_code == 200
            assert answer.json()["prescriptions"]
        page = httpx.get(f"{given['base_url']}/apidocs/swagger-ui-bundle.js", trust_env=False)
        assert page.status_code == 200
    finally:
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=30)
    assert demo.returncode == 0
