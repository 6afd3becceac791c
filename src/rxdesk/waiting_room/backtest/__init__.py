"""Estimates against what came of them, over days of history or generated ones. Pure: no database, no clock."""
