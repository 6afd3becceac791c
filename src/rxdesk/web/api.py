"""An API of the server: a base path, its endpoints, and what its own document and Swagger page say of it."""

from __future__ import annotations

from dataclasses import dataclass

from rxdesk.web.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Api:
    """Endpoints under a base path; the same handlers answer under each of the `others`.

    `document` is the file in docs/ that holds its OpenAPI document.
    """

    base: str
    title: str
    description: str
    document: str
    endpoints: tuple[Endpoint, ...]
    others: tuple[str, ...] = ()

    @property
    def bases(self) -> tuple[str, ...]:
        """Every base path, the documented one first."""
        return (self.base, *self.others)
