"""What the models have in common: the composite key, the organisation, the mark of deletion, and relations."""

from __future__ import annotations

import json
from typing import Any

from django.db import models


def relation(
    to: str, column: str, *, reverse: str = "+", null: bool = False
) -> models.ForeignObject[Any, Any]:
    """Make the relation of a row to another one of its organisation, whose uid stands in `column`."""
    return models.ForeignObject(
        to,
        on_delete=models.DO_NOTHING,
        from_fields=["organisation_id", column],
        to_fields=["organisation_id", "uid"],
        related_name=reverse,
        null=null,
    )


class LivingRows(models.QuerySet[Any]):
    """Rows of a tenant."""

    def of(self, organisation_id: int, **conditions: object) -> LivingRows:
        """Only the rows of this organisation that are not deleted, and meet the conditions."""
        return self.filter(organisation_id=organisation_id, deleted_at=None, **conditions)


class Row(models.Model):
    """What every table of a tenant has."""

    pk = models.CompositePrimaryKey("organisation_id", "uid")
    organisation_id = models.IntegerField()
    uid = models.TextField()

    class Meta:
        abstract = True
        managed = False


class Deletable(Row):
    """A row that is marked when it is deleted."""

    deleted_at = models.DateTimeField(null=True)
    objects = LivingRows.as_manager()

    class Meta(Row.Meta):
        abstract = True


class NumbersAsWritten(json.JSONDecoder):
    """Leaves numbers as the database has them: 12.50 stays 12.50."""

    def __init__(self) -> None:
        super().__init__(parse_int=str, parse_float=str)
