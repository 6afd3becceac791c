"""An API of the server: a base path, its endpoints, and what its own document and Swagger page say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from rxdesk.web.endpoint import Endpoint
from rxdesk.web.open import OpenEndpoint


@dataclass(frozen=True, slots=True)
class Webhook:
    """A request that the server makes: its body's member `data` has one of the shapes `data`.

    `headers` are name, meaning and example of each that comes with it.
    """

    name: str
    summary: str
    description: str
    data: tuple[type[msgspec.Struct], ...]
    example: Mapping[str, Any]
    headers: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Api:
    """Endpoints under a base path; the same handlers answer under each of the `others`.

    `document` is the file in docs/ that holds its OpenAPI document. One that is `open` asks for no key.
    """

    base: str
    title: str
    description: str
    document: str
    endpoints: tuple[Endpoint | OpenEndpoint, ...]
    others: tuple[str, ...] = ()
    webhooks: tuple[Webhook, ...] = ()

    @property
    def open(self) -> bool:
        """Whether its endpoints are open to everybody."""
        return all(endpoint.operation.open for endpoint in self.endpoints)

    @property
    def bases(self) -> tuple[str, ...]:
        """Every base path, the documented one first."""
        return (self.base, *self.others)
