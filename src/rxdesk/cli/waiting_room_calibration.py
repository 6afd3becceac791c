"""`rxdesk waiting-room calibration`: how far off the estimates were that patients were given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from rxdesk.cli.api import looked_up
from rxdesk.cli.common import (
    EPILOG,
    AsJson,
    ConfigFile,
    DataDir,
    OrganisationSlug,
    print_json,
    print_table,
)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog=EPILOG + "rxdesk waiting-room calibration --organisation nordlicht")(calibration)


def calibration(
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Compare the waits that patients were told as they registered with those that came, over the last 30 days.

    Left out of error, bias and range, and counted beside them, are patients who were not there when they were called,
    who cancelled before, and who registered with no doctor on duty.
    """
    from datetime import timedelta

    from rxdesk.kit.clock import utc_now
    from rxdesk.waiting_room.calibration import CALIBRATION, DAYS

    since = utc_now() - timedelta(days=DAYS)
    found = looked_up(data_dir, config, organisation, CALIBRATION, since, DAYS)
    if as_json:
        print_json(found)
        return
    print_table(
        ("SHOP", "WAITS", "ERROR (MINUTES)", "BIAS", "IN RANGE", "NO-SHOWS", "CANCELLED", "NO DOCTOR"),
        [_row(shop["shop_uid"], shop) for shop in found["shops"]] + [_row("all", found["overall"])],
    )
    print(f"The last {found['days']} days; the range is for 80 %.")


def _row(name: str, measured: Mapping[str, Any]) -> tuple[object, ...]:
    error, bias = measured["mean_absolute_error_minutes"], measured["bias_minutes"]
    coverage = measured["coverage"]
    return (
        name,
        measured["count"],
        "" if error is None else f"{error:.2f}",
        "" if bias is None else f"{bias:+.2f}",
        "" if coverage is None else f"{100 * coverage:.1f} %",
        measured["no_shows"],
        measured["cancelled"],
        measured["no_doctor_on_duty"],
    )
