"""Column A: job files, their ledger of claims and their statuses. Knows nothing of S3."""
