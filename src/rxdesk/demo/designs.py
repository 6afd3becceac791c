"""How the demo's passes look, and the sample customer's pass, issued as its holder gets it."""

from __future__ import annotations

from typing import Final

from rxdesk.access import Transaction
from rxdesk.demo.marks import images_of
from rxdesk.demo.organisations import DemoOrganisation
from rxdesk.wallet import passes, templates
from rxdesk.wallet.card import Kind
from rxdesk.wallet.design import Design, DesignedField, DesignedLink
from rxdesk.wallet.issuing import Issuer

_TEMPLATES = """
SELECT t.uid, t.pass_type, s.display_name AS shop FROM wallet_pass_templates t
JOIN shops s ON s.organisation_id = $1 AND s.uid = t.shop_uid
WHERE t.organisation_id = $1 AND t.deleted_at IS NULL ORDER BY t.uid"""

_HOLDER = DesignedField(key="holder", place="secondary", label="Name", value="{display_name}")
_TITLES: Final[dict[Kind, dict[str, str]]] = {
    "generic": {"de": "Patientenkarte", "en": "Patient card"},
    "storeCard": {"de": "Treuekarte", "en": "Loyalty card"},
    "eventTicket": {"de": "Videosprechstunde", "en": "Video consultation"},
    "coupon": {"de": "Gutschein", "en": "Voucher"},
}
_FIELDS: Final[dict[Kind, list[DesignedField]]] = {
    "generic": [
        DesignedField(
            key="patient_number",
            place="header",
            label={"de": "Nummer", "en": "Number"},
            value="{patient_number}",
        ),
        DesignedField(key="holder", place="primary", label="Name", value="{display_name}"),
    ],
    "storeCard": [
        DesignedField(key="level", place="header", label={"de": "Stufe", "en": "Level"}, value="{level}"),
        DesignedField(
            key="points",
            place="primary",
            label={"de": "Punkte", "en": "Points"},
            value="{points}",
            change_message={"de": "Jetzt {value} Punkte", "en": "Now {value} points"},
        ),
        _HOLDER,
    ],
    "eventTicket": [
        DesignedField(
            key="appointment",
            place="primary",
            label={"de": "Termin", "en": "Appointment"},
            value="{appointment}",
            change_message={"de": "Ihr Termin: {value}", "en": "Your appointment: {value}"},
        ),
        _HOLDER,
    ],
    "coupon": [
        DesignedField(
            key="discount", place="primary", label={"de": "Nachlass", "en": "Discount"}, value="{discount}"
        ),
        _HOLDER,
        DesignedField(key="code", place="auxiliary", label="Code", value="{code}"),
    ],
}


def look_of(organisation: DemoOrganisation, kind: Kind, shop: str) -> templates.Look:
    """Give the look of a template of a shop, which is told by its name."""
    title = _TITLES[kind]
    place = DesignedField(key="shop", place="auxiliary", label={"de": "Praxis", "en": "Practice"}, value=shop)
    helping = DesignedLink(key="help", label={"de": "Hilfe", "en": "Help"}, url="mailto:hilfe@example.org")
    design = Design(
        language="de",
        title=title,
        description={language: f"{name}, {organisation.display_name}" for language, name in title.items()},
        background=organisation.background,
        foreground=organisation.foreground,
        label_colour=organisation.label_colour,
        fields=[*_FIELDS[kind], place],
        links=[helping],
        message_label={"de": "Nachricht", "en": "Message"},
    )
    images = images_of(organisation.mark, organisation.background, organisation.foreground)
    return templates.Look(design=design, images=images)


async def design_templates(tx: Transaction, organisation: DemoOrganisation) -> None:
    """Give each template of the organisation its look."""
    for row in await tx.connection.fetch(_TEMPLATES, tx.organisation_id):
        await templates.redesign(tx, row["uid"], look_of(organisation, row["pass_type"], row["shop"]))


async def issue_sample(tx: Transaction, uid: str) -> str:
    """Issue a pass where it has not been, and give the path of its page."""
    return (await passes.issue(tx, uid, Issuer(tx.sealer, ""))).links.landing_page
