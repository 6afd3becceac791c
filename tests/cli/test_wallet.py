"""`rxdesk wallet templates` and `rxdesk wallet passes`, beside a running demo."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cli.processes import Server, answer, inside, refused
from tests.wallet.apple.test_package import document, members

VERBS = [
    *(["wallet", "templates", verb] for verb in ("list", "show", "create", "design")),
    *(["wallet", "passes", verb] for verb in ("list", "put", "show", "export", "revoke", "verify")),
    ["wallet", "logs"],
    ["wallet", "pushes"],
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_teaches(verb: list[str]) -> None:
    done = inside(*verb, "--help", NO_COLOR="1", COLUMNS="110")
    assert done.returncode == 0
    assert "Usage: rxdesk " + " ".join(verb) in done.stdout
    assert "rxdesk " + " ".join(verb) in done.stdout.split("Examples")[1]


def at(demo: Server) -> tuple[str, ...]:
    slug = demo.ready["organisations"][0]["slug"]
    return ("--organisation", slug, "--data-dir", demo.ready["folder"])


def shop(demo: Server) -> str:
    identifier: str = demo.ready["organisations"][0]["samples"]["shop_identifier"]
    return identifier


def origin(demo: Server) -> str:
    return f"http://127.0.0.1:{demo.port}"


def png(width: int, height: int, padding: int = 0) -> bytes:
    """A white PNG, with so many bytes beside its pixels."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress((b"\x00" + b"\xff" * width) * height)),
        *([(b"teXt", b"x" * padding)] if padding else []),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


DESIGN: dict[str, Any] = {
    "language": "de",
    "title": {"de": "Treuekarte", "en": "Loyalty"},
    "background": "#0a3d62",
    "foreground": "#ffffff",
    "fields": [
        {"key": "name", "place": "primary", "label": "Name", "value": "{display_name}"},
        {
            "key": "points",
            "place": "secondary",
            "label": {"de": "Punkte", "en": "Points"},
            "value": "{points}",
            "change_message": {"de": "Jetzt {value} Punkte", "en": "Now {value} points"},
        },
    ],
    "links": [{"key": "help", "label": "Hilfe", "url": "https://example.org/help"}],
}


@pytest.fixture
def look(tmp_path: Path) -> Path:
    folder = tmp_path / "look"
    folder.mkdir()
    (folder / "design.json").write_text(json.dumps(DESIGN))
    (folder / "logo.png").write_bytes(png(100, 50))
    (folder / "logo@2x.png").write_bytes(png(200, 100))
    return folder


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the environment of a verb needs to sign."""
    folder = tmp_path_factory.mktemp("chain") / "made"
    answer(inside("wallet", "certificates", "create-test", "--out", folder, "--json"))
    return {
        "RXDESK_APPLE_CERTIFICATE_FILE": str(folder / "pass.pem"),
        "RXDESK_APPLE_KEY_FILE": str(folder / "pass.key"),
        "RXDESK_APPLE_INTERMEDIATE_FILE": str(folder / "intermediate.pem"),
        "RXDESK_PUBLIC_URL": "https://passes.example",
    }


def test_from_a_template_to_a_file(
    demo: Server, look: Path, certificates: dict[str, str], tmp_path: Path
) -> None:
    where = at(demo)
    named = ["--shop", shop(demo), "--name", "Treuekarte", "--type", "storeCard"]
    template = answer(
        inside(
            "wallet", "templates", "create", *where, *named, "--field", "points", "--design", look, "--json"
        )
    )["uid"]
    listed = answer(inside("wallet", "templates", "list", *where, "--shop", shop(demo), "--json"))
    assert template in [one["uid"] for one in listed["data"]]
    shown = answer(inside("wallet", "templates", "show", template, *where, "--json"))
    assert shown["fields"] == ["points"]
    assert shown["design"] == DESIGN
    assert [(one["name"], one["scale"]) for one in shown["images"]] == [("logo", 1), ("logo", 2)]

    holder = [
        "--template",
        template,
        "--customer",
        "cust-cli",
        "--display-name",
        "Max M.",
        "--field",
        "points=120",
    ]
    made = answer(inside("wallet", "passes", "put", *where, *holder, "--json", **certificates))
    assert made["links"]["apple_wallet"].startswith("https://passes.example/w/")
    again = answer(inside("wallet", "passes", "show", made["uid"], *where, "--json", **certificates))
    assert again == made
    file = tmp_path / "card.pkpass"
    done = inside("wallet", "passes", "export", made["uid"], *where, "--out", file, **certificates)
    assert file.stat().st_mode & 0o777 == 0o600, "the pass's token is in it"
    assert (done.returncode, done.stdout) == (0, f"{file}: {file.stat().st_size} bytes\n")
    inner = members(file.read_bytes())
    assert {"logo.png", "logo@2x.png", "icon.png", "de.lproj/pass.strings", "en.lproj/pass.strings"} <= set(
        inner
    )
    found = document(file.read_bytes())
    assert found["storeCard"]["primaryFields"][0]["value"] == "Max M."
    assert found["storeCard"]["secondaryFields"][0]["value"] == "120"
    assert found["backgroundColor"] == "rgb(10, 61, 98)"
    # The server shows it, and the code is good until the pass is revoked.
    page = httpx.get(
        made["links"]["landing_page"].replace("https://passes.example", origin(demo)), trust_env=False
    )
    assert page.status_code == 200
    assert base64.b64encode(png(200, 100)).decode() in page.text
    code = found["barcodes"][0]["message"]
    assert answer(inside("wallet", "passes", "verify", code, *where, "--json"))["result"] == "valid"
    listed = answer(
        inside("wallet", "passes", "list", *where, "--shop", shop(demo), "--customer", "cust-cli", "--json")
    )
    assert [one["uid"] for one in listed["data"]] == [made["uid"]]
    assert "revoked" in inside("wallet", "passes", "revoke", made["uid"], *where).stdout
    done = inside("wallet", "passes", "verify", code, *where)
    assert done.returncode == 1
    assert "revoked" in done.stdout


def test_a_template_is_designed_anew(demo: Server, look: Path) -> None:
    where = at(demo)
    named = ["--shop", shop(demo), "--name", "Karte"]
    made = answer(inside("wallet", "templates", "create", *where, *named, "--field", "points", "--json"))
    (look / "logo@2x.png").unlink()
    done = inside("wallet", "templates", "design", made["uid"], look, *where)
    assert done.returncode == 0, done.stderr
    shown = answer(inside("wallet", "templates", "show", made["uid"], *where, "--json"))
    assert [(one["name"], one["scale"]) for one in shown["images"]] == [("logo", 1)]
    assert shown["fields"] == ["points"]


def changed(**members_: object) -> str:
    return json.dumps({**DESIGN, **members_})


FIELD = {"key": "x", "place": "back", "label": "X", "value": "x"}


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("design.json", "{", "is refused"),
        ("design.json", changed(background="blue"), "$.background"),
        ("design.json", changed(colour="#000000"), "unknown field 'colour'"),
        ("design.json", changed(title={"en": "Card"}), "title has no text in de, the design's language"),
        ("design.json", changed(fields=[{**FIELD, "value": "{level}"}]), "{level}, which is no field"),
        ("design.json", changed(fields=[{**FIELD, "change_message": "new"}]), "must hold {value}"),
        ("design.json", changed(fields=[FIELD, FIELD]), "must be unique"),
        ("design.json", changed(fields=[{**FIELD, "key": "message"}]), "must be unique"),
        (
            "design.json",
            changed(fields=[{**FIELD, "key": f"x{number}", "place": "primary"} for number in range(2)]),
            "at most 1 field at primary, and there are 2: x0, x1",
        ),
        (
            "design.json",
            changed(links=[{"key": "x", "label": "X", "url": "javascript:x"}]),
            "must begin with https",
        ),
        ("logo.png", "no PNG", "logo@1x is refused: it is no PNG file"),
        ("badge.png", "", "an image is called icon, logo, strip, thumbnail"),
    ],
)
def test_a_look_that_is_refused(demo: Server, look: Path, file: str, content: str, said: str) -> None:
    (look / file).write_text(content)
    named = ["--shop", shop(demo), "--name", "Karte", "--field", "points", "--design", str(look)]
    assert said in refused(inside("wallet", "templates", "create", *at(demo), *named))


def test_images_that_are_too_much_together(demo: Server, look: Path) -> None:
    for name in ("logo", "strip"):
        for scale in (1, 2, 3):
            (look / f"{name}@{scale}x.png").write_bytes(png(30, 30, padding=400 * 1024))
    named = ["--shop", shop(demo), "--name", "Karte", "--field", "points", "--design", str(look)]
    said = refused(inside("wallet", "templates", "create", *at(demo), *named))
    assert "the images are 2401 KiB together, and 2048 KiB at most" in said


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (["passes", "show", "wp-none"], "there is no such uid in this organisation"),
        (["passes", "revoke", "wp-none"], "there is no such uid in this organisation"),
        (["passes", "export", "wp-none", "--out", "x"], "there is no certificate to sign with"),
        (["passes", "put", "--template", "x", "--customer", "c"], "no such wallet_pass_template_uid"),
        (
            ["passes", "put", "--template", "x", "--customer", "c", "--field", "a"],
            "a field's name, = and its value",
        ),
        (["templates", "show", "wpt-none"], "there is no such uid in this organisation"),
        (["templates", "create", "--shop", "none", "--name", "x"], "no such shop_identifier"),
        (["templates", "create", "--shop", "none", "--name", "x", "--type", "y"], "choose of generic"),
        (["templates", "create", "--shop", "none", "--name", " "], "--name is empty"),
        (["templates", "create", "--shop", "none", "--name", "x", "--field", "1"], "a field is of letters"),
        (
            ["templates", "create", "--shop", "none", "--name", "x", "--field", "a", "--field", "a"],
            "--field a: it is given twice",
        ),
    ],
)
def test_what_is_refused(demo: Server, verb: list[str], said: str) -> None:
    assert said in refused(inside("wallet", *verb, *at(demo)))


def test_a_certificate_without_its_key(demo: Server, certificates: dict[str, str]) -> None:
    only = {name: value for name, value in certificates.items() if "KEY" not in name}
    uid = demo.ready["organisations"][0]["samples"]["wallet_pass_uid"]
    said = refused(inside("wallet", "passes", "export", uid, *at(demo), "--out", "x", **only))
    assert "apple_key_file is not set" in said


def test_what_devices_report(demo: Server, certificates: dict[str, str]) -> None:
    uid = demo.ready["organisations"][0]["samples"]["wallet_pass_uid"]
    made = answer(inside("wallet", "passes", "show", uid, *at(demo), "--json", **certificates))
    code = made["links"]["landing_page"].removeprefix("https://passes.example/w/").partition(".")[0]
    said = httpx.post(f"{origin(demo)}/w/{code}/v1/log", json={"logs": ["\x1b[31mred"]}, trust_env=False)
    assert said.status_code == 200
    assert "\x1b" not in inside("wallet", "logs", *at(demo)).stdout
    logs = answer(inside("wallet", "logs", *at(demo), "--json"))
    assert logs[0]["message"] == "\x1b[31mred"
