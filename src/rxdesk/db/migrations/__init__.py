"""The schema's history. Revisions are plain SQL beside a short Python file each, which Alembic orders."""
