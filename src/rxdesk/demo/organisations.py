"""The two providers of the demo. Brands, shops and pharmacies are invented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from rxdesk.demo.marks import Mark

Number: TypeAlias = Literal[1, 2]


@dataclass(frozen=True, slots=True)
class DemoOrganisation:
    """An invented telemedicine provider. `shops` are identifier and name; `pzn_start` keeps PZNs apart.

    `mark` and the colours, `#rrggbb`, are those of its wallet passes.
    """

    number: Number
    slug: str
    display_name: str
    public_code: str
    shops: tuple[tuple[str, str], ...]
    pharmacies: tuple[str, ...]
    pzn_start: int
    mark: Mark
    background: str
    label_colour: str
    foreground: str = "#ffffff"
    time_zone: str = "Europe/Berlin"


# No PZN begins with 9 so far: the demo's numbers are well formed and nobody's.
ORGANISATIONS: dict[Number, DemoOrganisation] = {
    1: DemoOrganisation(
        number=1,
        slug="lindvara",
        display_name="Lindvara Telemedizin GmbH",
        public_code="mdv4kx7w",
        shops=(
            ("lindvara-online", "Lindvara Online-Sprechstunde"),
            ("lindvara-haut", "Lindvara Haut & Haar"),
        ),
        pharmacies=(
            "Lindentor-Apotheke Kassel",
            "Versandapotheke Elbufer",
            "Apotheke im Sternhof",
            "Kranich-Apotheke Versand",
        ),
        pzn_start=9_000_000,
        mark="leaf",
        background="#1d5c4a",
        label_colour="#bfe3d3",
    ),
    2: DemoOrganisation(
        number=2,
        slug="medorwen",
        display_name="Medorwen Online-Praxis GmbH",
        public_code="mdw8qz3h",
        shops=(("medorwen", "Medorwen Sprechzimmer"), ("medorwen-vital", "Medorwen Vital")),
        pharmacies=(
            "Mühlgraben-Apotheke Erfurt",
            "Versandapotheke Nordhafen",
            "Apotheke am Drosselweg",
            "Silberdistel-Apotheke Versand",
        ),
        pzn_start=9_500_000,
        mark="ring",
        background="#27408b",
        label_colour="#c7d2f5",
    ),
}
