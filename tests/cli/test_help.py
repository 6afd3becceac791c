"""What the command says of itself, and of options that were given wrongly."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tests.cli.processes import inside, refused

from rxdesk.permissions import ALL


def _help(*verb: str) -> str:
    done = inside(*verb, "--help", NO_COLOR="1", COLUMNS="80")
    assert done.returncode == 0
    return done.stdout


def test_paragraphs_are_broken_for_the_terminal_s_width_only() -> None:
    text = _help("demo").split("╭")[0]
    lines = [line.strip() for line in text.splitlines()]
    for line, following in itertools.pairwise(lines):
        if line and following:  # the next word would not have fitted
            assert len(line) + 1 + len(following.split()[0]) > 78, line


def test_no_option_s_name_is_cut_off() -> None:
    text = _help("keys", "create")
    assert "--rate-limit-per-second " in text
    assert "--rate-limit-per-minute " in text


def test_keys_create_names_the_permissions() -> None:
    done = inside("keys", "create", "--help", NO_COLOR="1", COLUMNS="110")
    for permission in ALL:
        assert permission in done.stdout


def test_the_version_as_an_option() -> None:
    assert inside("--version").stdout == inside("version").stdout != ""


@pytest.mark.parametrize("option", ["--data-dir", "--config", "--ready-file"])
def test_an_option_without_a_name_in_it_is_refused(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = inside("demo", option, "", "--port", 0)
    assert done.returncode == 2
    assert option in done.stderr
    assert "it is empty" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_empty_data_folder_in_the_settings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refused(inside("migrate", RXDESK_DATA_DIR=""))
    assert "data_dir (from variable RXDESK_DATA_DIR) must be the name of a folder, and is empty" in said
    file = tmp_path / "rxdesk.toml"
    file.write_text('data_dir = ""\n')
    assert f"data_dir (from file {file})" in refused(inside("migrate", "--config", file))
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (["demo", "--port", "abc"], "'--port': it must be a whole number."),
        (["demo", "--port", "99999"], "'--port': it must be less than or equal to 65535."),
        (
            ["keys", "create", "--organisation", "x", "--name", "x", "--rate-limit-per-minute", "60000001"],
            "'--rate-limit-per-minute': it must be a whole number from 0 to 60000000.",
        ),
    ],
)
def test_a_wrong_number_is_named_in_plain_words(verb: list[str], said: str) -> None:
    done = inside(*verb)
    assert done.returncode == 2
    assert said in done.stderr
