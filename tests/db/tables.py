"""The tables of tenants that there are."""

TENANT_TABLES = (
    "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relkind = 'r' "
    "AND c.relnamespace = 'public'::regnamespace AND a.attname = 'organisation_id' AND NOT a.attisdropped "
    "AND c.relname <> 'jobs' ORDER BY 1"  # it routes, and has no policy
)
