"""What the demo is drawn from: one seeded generator, the present moment, and pools of German names."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from faker import Faker

from rxdesk.demo.organisations import DemoOrganisation
from rxdesk.kit.uids import new_uid

Row: TypeAlias = dict[str, Any]

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "é": "e", "è": "e", "á": "a"})


class World:
    """The seeded source of one organisation's data; `now` in Unix seconds. The same seed draws the same."""

    def __init__(self, organisation: DemoOrganisation, seed: int, as_of: datetime) -> None:
        self.organisation = organisation
        self.now = int(as_of.timestamp())
        self.zone = ZoneInfo(organisation.time_zone)
        # A text is hashed by SHA-512 here, so the draw does not depend on the process.
        self.random = random.Random(f"rxdesk demo {seed} {organisation.slug}")
        names = Faker("de_DE")
        names.seed_instance(self.random.getrandbits(32))
        # Faker is slow: it fills these pools once, and rows are drawn from them.
        self.first_names: list[str] = [names.first_name() for _ in range(300)]
        self.last_names: list[str] = [names.last_name() for _ in range(500)]
        self.streets: list[str] = [names.street_name() for _ in range(300)]
        self.places: list[tuple[str, str]] = [(names.postcode(), names.city_name()) for _ in range(200)]

    def uid(self, prefix: str, moment: int) -> str:
        """Make a uid that is ordered by the moment."""
        milliseconds = moment * 1000 + self.random.randrange(1000)
        return new_uid(prefix, milliseconds=milliseconds, random_bits=self.random.getrandbits)

    def chance(self, probability: float) -> bool:
        """Throw a coin that shows heads with this probability."""
        return self.random.random() < probability

    def minutes(self, median: float, spread: float = 0.8) -> int:
        """Draw a waiting time around a median in minutes, in seconds; a few are very long."""
        return max(5, int(MINUTE * median * self.random.lognormvariate(0, spread)))

    def address(self, first_name: str, last_name: str) -> Row:
        """Make a German postal address."""
        zip_code, city = self.random.choice(self.places)
        return {
            "first_name": first_name,
            "last_name": last_name,
            "street": self.random.choice(self.streets),
            "house_number": f"{self.random.randint(1, 140)}{'a' if self.chance(0.06) else ''}",
            "zip_code": zip_code,
            "city": city,
            "country": "Germany",
            "additional_address": "Hinterhaus" if self.chance(0.04) else None,
        }

    def mailbox(self, first_name: str, last_name: str, number: int) -> str:
        """Make an e-mail address of a domain that is reserved for examples; `number` makes it unique."""
        parts = [
            "".join(c for c in name.lower().translate(_UMLAUTS) if c.isascii() and c.isalnum())
            for name in (first_name, last_name)
        ]
        return f"{'.'.join(parts)}{number}@example.{self.random.choice(('com', 'org'))}"
