"""`rxdesk waiting-room`: the doctor's side of the waiting room, as the Operations API has it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rxdesk.cli import waiting_room_backtest, waiting_room_calibration, waiting_room_watch
from rxdesk.cli.api import Reason, body_of, looked_up, print_history
from rxdesk.cli.common import (
    EPILOG,
    AsJson,
    ConfigFile,
    DataDir,
    OrganisationSlug,
    on_organisation,
    plain,
    print_json,
    print_table,
    settings_of,
)

if TYPE_CHECKING:
    from datetime import datetime

    from rxdesk.access import Transaction
    from rxdesk.waiting_room.lifecycle import Rules

app = typer.Typer(
    help="Put doctors on duty, call patients, and end their visits; show who waits.", no_args_is_help=True
)
waiting_room_backtest.register(app)
waiting_room_calibration.register(app)
waiting_room_watch.register(app)
Doctor = Annotated[str, typer.Argument(metavar="DOCTOR", help="The doctor's uid.")]
Visit = Annotated[
    str, typer.Argument(metavar="UID", help="The visit's uid, as `rxdesk waiting-room show` has it.")
]
ByDoctor = Annotated[str, typer.Option("--doctor", metavar="UID", help="The doctor who has the patient.")]


def _since(data_dir: Path | None, config: Path | None) -> datetime:
    """Give the time before which a doctor must have been seen last to be away."""
    from rxdesk.kit.clock import utc_now
    from rxdesk.settings import load
    from rxdesk.waiting_room.lifecycle import Rules

    return utc_now() - Rules.of(load(file=config, flags={"data_dir": data_dir}).settings).heartbeat


def _do(
    organisation: str,
    data_dir: Path | None,
    config: Path | None,
    command: Callable[[Transaction, Rules], Awaitable[object]],
) -> Any:  # noqa: ANN401 (what the command answers)
    from rxdesk.waiting_room.lifecycle import Rules

    settings = settings_of(data_dir, config).settings
    rules = Rules.of(settings)
    return on_organisation(settings, "waiting room", organisation, lambda tx: command(tx, rules))


def _tell_duty(duty: Any, *, as_json: bool) -> None:  # noqa: ANN401 (a duty, as a struct or as JSON)
    shown = plain(duty)
    if as_json:
        print_json(shown)
        return
    print(f"{shown['doctor_uid']}: {shown['status']}" + "".join(f" {uid}" for uid in shown["shop_uids"]))
    for visit in shown["visits"]:
        print(f"  has {visit['queue_uid']} in {visit['video_room_id'] or '-'}")


def _tell_visit(visit: Any, more: str = "", *, as_json: bool) -> None:  # noqa: ANN401 (a visit)
    if as_json:
        print_json(visit)
    else:
        print(f"{visit.queue_uid}: {visit.status}{more}")


@app.command(epilog=EPILOG + "rxdesk waiting-room show --organisation nordlicht shop-1")
def show(
    shop: Annotated[str, typer.Argument(metavar="SHOP", help="The shop's uid.")],
    *,
    organisation: OrganisationSlug,
    rows: Annotated[int, typer.Option("--rows", min=1, max=1000, help="Of those who wait, at most.")] = 50,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a shop's waiting room: doctors on duty, whom they have, and who waits, first one first."""
    from rxdesk.waiting_room.desk_queries import BOARD

    board = looked_up(data_dir, config, organisation, BOARD, shop, _since(data_dir, config), rows, 0)
    if as_json:
        print_json(board)
        return
    print_table(
        ("DOCTOR", "NAME", "DUTY", "HAS"),
        [(one["uid"], one["display_name"], one["status"], one["queue_uids"]) for one in board["doctors"]],
    )
    print(waiting_room_watch.counts(board))
    print_table(
        ("POSITION", "VISIT", "PATIENT", "WANTS", "NO-SHOWS"),
        [
            (
                one["position"],
                one["queue_uid"],
                one["patient_profile_uid"],
                one["preferred_doctor_uid"],
                one["no_shows"],
            )
            for one in board["data"]
        ],
    )


@app.command(epilog=EPILOG + "rxdesk waiting-room duty --organisation nordlicht doc-1")
def duty(
    doctor: Doctor,
    *,
    organisation: OrganisationSlug,
    history: Annotated[bool, typer.Option("--history", help="Show when the doctor was on duty.")] = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a doctor's duty and the patients whom the doctor has."""
    from rxdesk.waiting_room.desk_queries import DUTY, DUTY_CHANGES

    if history:
        print_history(data_dir, config, organisation, DUTY_CHANGES, doctor, as_json=as_json)
        return
    _tell_duty(
        looked_up(data_dir, config, organisation, DUTY, doctor, _since(data_dir, config)), as_json=as_json
    )


@app.command(epilog=EPILOG + "rxdesk waiting-room on-duty --organisation nordlicht doc-1 --shop shop-1")
def on_duty(
    doctor: Doctor,
    *,
    organisation: OrganisationSlug,
    shop: Annotated[
        list[str], typer.Option("--shop", metavar="UID", help="Whose patients the doctor takes; repeat it.")
    ],
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Put a doctor on duty in these shops and no others.

    Without a heartbeat from the doctor's own program the duty lapses after a while (`doctor_heartbeat_seconds`).
    """
    from rxdesk.waiting_room.desk_schemas import Shops
    from rxdesk.waiting_room.duty import go_on

    body = body_of(Shops, {"shop_uids": shop})
    made = _do(organisation, data_dir, config, lambda tx, rules: go_on(tx, doctor, body, rules))
    _tell_duty(made, as_json=as_json)


@app.command(epilog=EPILOG + "rxdesk waiting-room pause --organisation nordlicht doc-1 --minutes 15")
def pause(
    doctor: Doctor,
    *,
    organisation: OrganisationSlug,
    minutes: Annotated[
        int | None,
        typer.Option("--minutes", metavar="N", show_default=False, help="How long it is meant to last."),
    ] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a doctor no further patients for a while."""
    from rxdesk.waiting_room import duty as duties
    from rxdesk.waiting_room.desk_schemas import Pause

    body = body_of(Pause, {"minutes": minutes})
    made = _do(organisation, data_dir, config, lambda tx, rules: duties.pause(tx, doctor, body, rules))
    _tell_duty(made, as_json=as_json)


@app.command(epilog=EPILOG + "rxdesk waiting-room resume --organisation nordlicht doc-1")
def resume(
    doctor: Doctor,
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """End a doctor's pause."""
    from rxdesk.waiting_room import duty as duties

    made = _do(organisation, data_dir, config, lambda tx, rules: duties.resume(tx, doctor, rules))
    _tell_duty(made, as_json=as_json)


@app.command(epilog=EPILOG + "rxdesk waiting-room off-duty --organisation nordlicht doc-1")
def off_duty(
    doctor: Doctor,
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """End a doctor's duty; refused while the doctor still has a patient."""
    from rxdesk.waiting_room.duty import go_off

    made = _do(organisation, data_dir, config, lambda tx, rules: go_off(tx, doctor, rules))
    _tell_duty(made, as_json=as_json)


@app.command(epilog=EPILOG + "rxdesk waiting-room heartbeat --organisation nordlicht doc-1")
def heartbeat(
    doctor: Doctor, *, organisation: OrganisationSlug, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """Give a doctor's sign of life; whatever else a doctor on duty does is one too."""
    from rxdesk.waiting_room import duty as duties

    _do(organisation, data_dir, config, lambda tx, _: duties.heartbeat(tx, doctor))


@app.command(epilog=EPILOG + "rxdesk waiting-room call-next --organisation nordlicht doc-1")
def call_next(
    doctor: Doctor,
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a doctor the patient who is due; says so when nobody is, and for whom those who wait are kept."""
    from rxdesk.waiting_room import calling

    async def call(tx: Transaction, rules: Rules) -> tuple[Any, list[str]]:
        # It hears no doctor: whoever has vanished is the worker's to judge.
        visit = await calling.call_next(tx, doctor, rules, heard_since=tx.now)
        return visit, [] if visit is not None else await calling.kept_for(tx, doctor)

    visit, kept = _do(organisation, data_dir, config, call)
    if as_json:
        print_json(visit)
    elif visit is None:
        wanted = ", ".join(sorted(set(kept)))
        print("nobody is due" + (f"; kept for another doctor: {len(kept)} ({wanted})" if kept else ""))
    else:
        print(f"{visit.queue_uid}: {visit.patient_profile_uid} in {visit.video_room_id}")


@app.command(
    epilog=EPILOG
    + "rxdesk waiting-room complete --organisation nordlicht q-1 --doctor doc-1 --outcome treated"
)
def complete(
    uid: Visit,
    *,
    organisation: OrganisationSlug,
    doctor: ByDoctor,
    outcome: Annotated[
        str,
        typer.Option(
            "--outcome", metavar="OUTCOME", help="treated, follow_up, referred, not_treated or other."
        ),
    ],
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """End a consultation with its outcome."""
    from rxdesk.waiting_room import visits
    from rxdesk.waiting_room.desk_schemas import Completion

    body = body_of(Completion, {"doctor_uid": doctor, "outcome": outcome})
    visit = _do(organisation, data_dir, config, lambda tx, _: visits.complete(tx, uid, body))
    _tell_visit(visit, as_json=as_json)


@app.command(epilog=EPILOG + "rxdesk waiting-room no-show --organisation nordlicht q-1 --doctor doc-1")
def no_show(
    uid: Visit,
    *,
    organisation: OrganisationSlug,
    doctor: ByDoctor,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Put a patient who was not there at the end of the queue; the third time the visit is cancelled."""
    from rxdesk.waiting_room import visits
    from rxdesk.waiting_room.desk_schemas import Absence
    from rxdesk.waiting_room.lifecycle import NO_SHOWS

    body = body_of(Absence, {"doctor_uid": doctor})
    visit = _do(organisation, data_dir, config, lambda tx, _: visits.no_show(tx, uid, body))
    _tell_visit(visit, f", no-show {visit.no_shows} of {NO_SHOWS}", as_json=as_json)


@app.command(
    epilog=EPILOG + "rxdesk waiting-room hand-over --organisation nordlicht q-1 --doctor doc-1 --to doc-2"
)
def hand_over(
    uid: Visit,
    *,
    organisation: OrganisationSlug,
    doctor: ByDoctor,
    to: Annotated[str, typer.Option("--to", metavar="UID", help="A doctor on duty in the visit's shop.")],
    reason: Reason = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Hand a patient over to a colleague; the video room stays the same."""
    from rxdesk.waiting_room import visits
    from rxdesk.waiting_room.desk_schemas import HandOver

    body = body_of(HandOver, {"doctor_uid": doctor, "to_doctor_uid": to, "reason": reason})
    visit = _do(organisation, data_dir, config, lambda tx, rules: visits.hand_over(tx, uid, body, rules))
    _tell_visit(visit, f" to {visit.doctor_uid}", as_json=as_json)


@app.command(epilog=EPILOG + "rxdesk waiting-room cancel --organisation nordlicht q-1")
def cancel(
    uid: Visit,
    *,
    organisation: OrganisationSlug,
    doctor: Annotated[
        str | None,
        typer.Option("--doctor", metavar="UID", show_default=False, help="The doctor who cancels it."),
    ] = None,
    reason: Reason = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Cancel a visit that waits or that a doctor has."""
    from rxdesk.waiting_room import visits
    from rxdesk.waiting_room.desk_schemas import Cancellation

    body = body_of(Cancellation, {"doctor_uid": doctor, "reason": reason})
    visit = _do(organisation, data_dir, config, lambda tx, _: visits.cancel(tx, uid, body))
    _tell_visit(visit, as_json=as_json)


@app.command(epilog=EPILOG + "rxdesk waiting-room history --organisation nordlicht q-1")
def history(
    uid: Visit,
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what became of a visit, when and by whom, oldest first."""
    from rxdesk.waiting_room.desk_queries import VISIT_CHANGES

    print_history(data_dir, config, organisation, VISIT_CHANGES, uid, as_json=as_json)
