"""Products with their SKUs, shops, pharmacies and ways of delivery."""

from __future__ import annotations

from dataclasses import dataclass

from rxdesk.demo.world import DAY, Row, World
from rxdesk.importing.rules import pzn_check_digit

PRODUCTS = 60
_OPENED = 900 * DAY  # how long ago everything began
_STARTS = ("Vel", "Quor", "Tarn", "Mel", "Sarv", "Lund", "Nerv", "Dorv", "Felk", "Karv", "Zyl", "Branv")
_ENDS = ("ustavil", "oquantin", "imexalon", "endromid", "avorenol")
# Intent, forms, strengths: a product treats one thing in one form.
_TREATMENTS = (
    ("haarausfall", "Filmtabletten", ("1 mg", "5 mg"), ("28 Stück", "98 Stück")),
    (
        "erektile-dysfunktion",
        "Filmtabletten",
        ("25 mg", "50 mg", "100 mg"),
        ("4 Stück", "12 Stück", "24 Stück"),
    ),
    ("verhuetung", "Dragees", ("0,03 mg/2 mg",), ("3 x 21 Stück", "6 x 21 Stück")),
    ("akne", "Gel", ("1 %", "2,5 %"), ("30 g", "60 g")),
    ("migraene", "Schmelztabletten", ("5 mg", "10 mg"), ("6 Stück", "12 Stück")),
    ("reflux", "magensaftresistente Kapseln", ("20 mg", "40 mg"), ("30 Stück", "60 Stück", "100 Stück")),
    ("heuschnupfen", "Nasenspray", ("50 µg",), ("10 ml", "18 ml")),
    ("asthma", "Dosieraerosol", ("100 µg", "200 µg"), ("1 Packung", "2 Packungen")),
)
INTENTS = tuple(treatment[0] for treatment in _TREATMENTS)


@dataclass(frozen=True, slots=True)
class Offer:
    """A SKU as orders need it: what it treats, and what each pharmacy asks for it, in euro cents."""

    sku_uid: str
    intent: str
    prices: dict[str, int]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The lines of the files, and what the other parts draw from."""

    shops: list[Row]
    pharmacies: list[Row]
    delivery_types: list[Row]
    products: list[Row]
    offers: list[Offer]


def make_catalogue(world: World) -> Catalogue:
    """Make everything that can be bought, and where."""
    opened = world.now - _OPENED
    shops = [
        {
            "uid": world.uid("shop", opened),
            "identifier": identifier,
            "display_name": name,
            "consultation_minutes": minutes,
            "doctors_on_duty": doctors,
            "created_at": opened,
        }
        for (identifier, name), minutes, doctors in zip(
            world.organisation.shops, (8, 12), (3, 2), strict=True
        )
    ]
    pharmacies = [
        {"uid": world.uid("ph", opened), "display_name": name, "created_at": opened}
        for name in world.organisation.pharmacies
    ]
    delivery_types = [
        {"uid": world.uid("dt", opened), "identifier": identifier, "display_name": name, "created_at": opened}
        for identifier, name in (
            ("standard", "Standardversand"),
            ("express", "Expressversand"),
            ("pickup", "Abholung in der Apotheke"),
        )
    ]
    names = [start + end for start in _STARTS for end in _ENDS]
    world.random.shuffle(names)
    catalogue = Catalogue(shops, pharmacies, delivery_types, [], [])
    for number, name in enumerate(sorted(names[:PRODUCTS])):
        _add_product(world, catalogue, number, name)
    return catalogue


def _add_product(world: World, catalogue: Catalogue, number: int, name: str) -> None:
    created = world.now - _OPENED + number * DAY
    intent, form, strengths, packs = _TREATMENTS[number % len(_TREATMENTS)]
    variants = [(strength, pack) for strength in strengths for pack in packs]
    count = min(len(variants), world.random.randint(2, 4))
    shops = catalogue.shops if world.chance(0.8) else [world.random.choice(catalogue.shops)]
    skus = [
        _sku(world, catalogue, f"{name} {strength} {form}, {pack}", intent, created, shops)
        for strength, pack in sorted(world.random.sample(variants, count))
    ]
    catalogue.products.append(
        {
            "uid": world.uid("prod", created),
            "display_name": name,
            "handle": name.lower(),
            "skus": skus,
            "shop_products": [
                {"uid": world.uid("sp", created), "shop_uid": shop["uid"], "external_id": _shop_id(world)}
                for shop in shops
            ],
            "created_at": created,
        }
    )


def _shop_id(world: World) -> str:
    return str(world.random.randrange(10**12, 10**13))


def _sku(world: World, catalogue: Catalogue, name: str, intent: str, created: int, shops: list[Row]) -> Row:
    uid = world.uid("sku", created)
    price = world.random.randrange(890, 8990, 50) + 9
    sellers = world.random.sample(catalogue.pharmacies, world.random.randint(2, 4))
    prices = {seller["uid"]: price + world.random.randrange(-80, 81, 10) for seller in sellers}
    catalogue.offers.append(Offer(uid, intent, prices))
    return {
        "uid": uid,
        "display_name": name,
        "pzn": _pzn(world.organisation.pzn_start, len(catalogue.offers)),
        "shop_skus": [
            {"uid": world.uid("ssku", created), "shop_uid": shop["uid"], "external_id": _shop_id(world)}
            for shop in shops
        ],
        "pharmacy_skus": [
            {
                "uid": world.uid("psku", created),
                "pharmacy_uid": seller,
                "price": cents,
                "stock": 0 if world.chance(0.06) else world.random.randint(1, 400),
                "external_id": f"ART-{world.random.randrange(10**5, 10**6)}",
                "updated_at": world.now - world.random.randrange(10 * DAY),
            }
            for seller, cents in prices.items()
        ],
    }


def _pzn(start: int, number: int) -> str:
    """Give the n-th PZN from the start that can be issued."""
    digits = start + number * 37
    while (check := pzn_check_digit(f"{digits:07d}")) == 10:  # noqa: PLR2004 (never issued)
        digits += 1
    return f"{digits:07d}{check}"
