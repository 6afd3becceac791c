"""What make says before it does anything."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = "{}.{}".format(*sys.version_info[:2])


def _asked_for(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    """Run the check alone: nothing is installed."""
    make = shutil.which("make")
    assert make is not None
    return subprocess.run(
        [make, "--no-print-directory", "same-python", f"VENV={folder}", f"PYTHON={python}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_python_that_an_environment_does_not_have_is_not_passed_over(tmp_path: Path) -> None:
    assert _asked_for(tmp_path / "absent", "python2.0").returncode == 0
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    assert _asked_for(folder, sys.executable).returncode == 0
    assert _asked_for(folder, "").returncode == 0
    done = _asked_for(folder, "python2.0")
    assert done.returncode != 0
    assert f"PYTHON=python2.0 is not used: {folder} is there already, with Python {HERE}." in done.stderr
