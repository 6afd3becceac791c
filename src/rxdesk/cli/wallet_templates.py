"""`rxdesk wallet templates`: how passes look."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rxdesk.cli.api import looked_up
from rxdesk.cli.common import (
    EPILOG,
    AsJson,
    CliError,
    ConfigFile,
    DataDir,
    OrganisationSlug,
    ShopIdentifier,
    named_path,
    on_organisation,
    print_json,
    print_table,
    settings_of,
)

if TYPE_CHECKING:
    from rxdesk.wallet.templates import Images, Look

app = typer.Typer(help="Make, show and design the templates of wallet passes.", no_args_is_help=True)
Uid = Annotated[str, typer.Argument(metavar="UID", help="The template's uid.")]
Fields = Annotated[
    list[str] | None,
    typer.Option("--field", metavar="NAME", show_default=False, help="A field that passes fill; repeat it."),
]
_DESIGN = "design.json"
_IMAGE = re.compile(r"([a-z]+)(?:@([123])x)?\.png")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_TYPES = ("generic", "storeCard", "eventTicket", "coupon")


@app.command("list", epilog=EPILOG + "rxdesk wallet templates list --organisation nordlicht --shop my-shop")
def list_(
    *,
    organisation: OrganisationSlug,
    shop: ShopIdentifier,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List the templates of a shop, by name."""
    from rxdesk.wallet.queries import TEMPLATES

    found = looked_up(data_dir, config, organisation, TEMPLATES, shop)
    if as_json:
        print_json(found)
        return
    rows = [(one["uid"], one["display_name"], one["pass_type"]) for one in found["data"]]
    print_table(("UID", "NAME", "TYPE"), rows)


@app.command(epilog=EPILOG + "rxdesk wallet templates show --organisation nordlicht wpt-1 --json")
def show(
    uid: Uid,
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a template: its fields, its images, and with --json its design."""
    from rxdesk.wallet.pass_queries import TEMPLATE

    found = looked_up(data_dir, config, organisation, TEMPLATE, uid)
    if as_json:
        print_json(found)
        return
    print(f"{found['uid']}: {found['display_name']} ({found['pass_type']})")
    print(f"fields: {', '.join(found['fields']) or 'none'}")
    images = [(f"{one['name']}@{one['scale']}x", one["bytes"]) for one in found["images"]]
    print_table(("IMAGE", "BYTES"), images)


@app.command(
    epilog=EPILOG
    + "rxdesk wallet templates create --organisation nordlicht --shop my-shop --name 'Loyalty card' --type storeCard "
    "--field points --design ./loyalty"
)
def create(  # noqa: PLR0913 (the options of a verb)
    *,
    organisation: OrganisationSlug,
    shop: ShopIdentifier,
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="What people call it.")],
    kind: Annotated[str, typer.Option("--type", metavar="TYPE", help=", ".join(_TYPES))] = _TYPES[0],
    field: Fields = None,
    design_folder: Annotated[
        Path | None,
        typer.Option(
            "--design",
            parser=named_path,
            metavar="FOLDER",
            show_default=False,
            help="Its look, as for `design`; else a plain one.",
        ),
    ] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a template of a shop."""
    from rxdesk.wallet import templates

    if kind not in _TYPES:
        raise CliError(f"--type {kind}: choose of {', '.join(_TYPES)}")
    if not name.strip() or not name.isprintable():
        raise CliError("--name is empty or holds control characters")
    look = _look(design_folder, field or [])
    made: dict[str, Any] = {"shop_identifier": shop, "display_name": name.strip(), "kind": kind, "look": look}
    settings = settings_of(data_dir, config).settings
    uid = on_organisation(settings, "wallet", organisation, lambda tx: templates.create(tx, **made))
    if as_json:
        print_json({"uid": uid})
        return
    print(f"{uid} made")


@app.command(epilog=EPILOG + "rxdesk wallet templates design --organisation nordlicht wpt-1 ./loyalty")
def design(
    uid: Uid,
    folder: Annotated[
        Path, typer.Argument(parser=named_path, metavar="FOLDER", help="design.json and images.")
    ],
    *,
    organisation: OrganisationSlug,
    field: Fields = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a template the look that a folder holds, in place of the one that it has.

    The folder holds design.json and PNG files of icon, logo, strip and thumbnail, such as logo.png, logo@2x.png and
    logo@3x.png; docs/wallet.md has the form. Every pass of the template changes by it. Without --field the template
    keeps its fields.
    """
    from rxdesk.wallet import templates

    look = _look(folder, field or [])
    settings = settings_of(data_dir, config).settings
    on_organisation(settings, "wallet", organisation, lambda tx: templates.redesign(tx, uid, look))
    if as_json:
        print_json({"uid": uid, "images": [f"{name}@{scale}x" for name, scale in look.images]})
        return
    print(f"{uid} has the look of {folder}, with {len(look.images)} images")


def _look(folder: Path | None, fields: list[str]) -> Look:
    import msgspec

    from rxdesk.kit import strict_json
    from rxdesk.wallet.design import Design
    from rxdesk.wallet.templates import Look

    for number, name in enumerate(fields):
        if name in fields[:number]:
            raise CliError(f"--field {name}: it is given twice")
        if _FIELD.fullmatch(name) is None:
            raise CliError(f"--field {name}: a field is of letters, digits and _, and begins with no digit")
    if folder is None:
        return Look(fields=tuple(fields))
    try:
        designed = msgspec.convert(strict_json.loads((folder / _DESIGN).read_bytes()), Design)
    except (strict_json.StrictJsonError, msgspec.ValidationError) as error:
        raise CliError(f"{folder / _DESIGN} is refused: {str(error).replace('`', chr(39))}") from error
    return Look(design=designed, fields=tuple(fields), images=_images(folder))


def _images(folder: Path) -> Images:
    from rxdesk.wallet.png import IMAGE_NAMES

    images = {}
    for file in sorted(folder.glob("*.png")):
        match = _IMAGE.fullmatch(file.name)
        name = next((one for one in IMAGE_NAMES if match is not None and one == match[1]), None)
        if match is None or name is None:
            raise CliError(
                f"{file}: an image is called {', '.join(IMAGE_NAMES)}, such as logo.png or logo@2x.png"
            )
        images[name, int(match[2] or 1)] = file.read_bytes()
    return images
