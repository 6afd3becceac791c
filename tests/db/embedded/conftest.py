"""Data folders for servers of a test's own."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.db.embedded.supervised import start, tree, until


@pytest.fixture(scope="session")
def made() -> Iterator[Path]:
    """A data folder with a database in it, stopped. Made once: tests work on copies."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        data_dir = Path(folder, "made")
        start(data_dir).stop()
        yield data_dir


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short temporary folder that all may pass: pytest's own is long, and private."""
    path = Path(tempfile.mkdtemp(prefix="rx"))
    path.chmod(0o755)
    yield path
    for data_dir in (*path.rglob("postgres"), *path.rglob("postgres.new-*")):
        until(lambda found=data_dir: not tree(found))  # type: ignore[misc]
    shutil.rmtree(path)


@pytest.fixture
def data_dir(folder: Path, made: Path) -> Path:
    """A data folder of the test's own, with a database in it."""
    subprocess.run(["/bin/cp", "-a", str(made), str(folder / "data")], check=True)
    return folder / "data"
