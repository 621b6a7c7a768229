"""Column C: buckets, credentials, engines. Knows no jobs and no sources."""
