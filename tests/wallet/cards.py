"""A card with something of everything, and the key lists that Apple documents."""

from __future__ import annotations

from datetime import UTC, datetime

from rxdesk.wallet.card import Barcode, Card, Field, Link, Text, WebService

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
PASS_TYPE = "pass.org.example.rxdesk"
TEAM = "TRIAL00000"

PATIENT = Card(
    kind="generic",
    serial="wp-01J0000000000000000000000A",
    template="wpt-01J0000000000000000000000A",
    organisation="Praxis Nordlicht",
    description=Text("Patient card", {"de": "Patientenkarte"}),
    title=Text("Nordlicht"),
    background="#0a5f73",
    foreground="#ffffff",
    label_colour="#d0e8ee",
    header=(Field(key="since", label=Text("Since", {"de": "Seit"}), value=Text("2024")),),
    primary=(Field(key="name", label=Text("Name"), value=Text('Ada "A." Löwe\\')),),
    secondary=(
        Field(
            key="next",
            label=Text("Next visit", {"de": "Nächster Termin"}),
            value=Text("none", {"de": "keiner"}),
        ),
    ),
    auxiliary=(Field(key="status", label=Text("Status"), value=Text("active", {"de": "aktiv"})),),
    back=(
        Field(
            key="news",
            label=Text("News", {"de": "Neues"}),
            value=Text("Your prescription is ready"),
            change_message=Text("{value}"),
        ),
    ),
    links=(
        Link(key="site", label=Text("Site"), url="https://example.com/a?b=1&c='2'"),
        Link(key="phone", label=Text("Telephone"), url="tel:+4940123456"),
    ),
    barcode=Barcode(content="RX1.abc", alternative="A-1"),
    expires_at=datetime(2027, 1, 1, tzinfo=UTC),
    web_service=WebService(url="https://example.com/w/abc", token="t" * 32),
)

# developer.apple.com, Wallet Passes: Pass, PassFields, PassFieldContent, Pass.Barcodes.
KEYS = {
    "accessibilityURL",
    "addOnURL",
    "appLaunchURL",
    "associatedStoreIdentifiers",
    "authenticationToken",
    "backgroundColor",
    "bagPolicyURL",
    "barcode",
    "barcodes",
    "beacons",
    "boardingPass",
    "coupon",
    "description",
    "eventTicket",
    "expirationDate",
    "foregroundColor",
    "formatVersion",
    "generic",
    "groupingIdentifier",
    "labelColor",
    "locations",
    "logoText",
    "maxDistance",
    "nfc",
    "organizationName",
    "passTypeIdentifier",
    "preferredStyleSchemes",
    "relevantDate",
    "relevantDates",
    "semantics",
    "serialNumber",
    "sharingProhibited",
    "storeCard",
    "suppressStripShine",
    "teamIdentifier",
    "useAutomaticColors",
    "userInfo",
    "voided",
    "webServiceURL",
}
REQUIRED_KEYS = {
    "description",
    "formatVersion",
    "organizationName",
    "passTypeIdentifier",
    "serialNumber",
    "teamIdentifier",
}
PLACES = {"auxiliaryFields", "backFields", "headerFields", "primaryFields", "secondaryFields"}
FIELD_KEYS = {
    "attributedValue",
    "changeMessage",
    "currencyCode",
    "dataDetectorTypes",
    "dateStyle",
    "ignoresTimeZone",
    "isRelative",
    "key",
    "label",
    "numberStyle",
    "semantics",
    "textAlignment",
    "timeStyle",
    "value",
}
BARCODE_KEYS = {"altText", "format", "message", "messageEncoding"}
