"""Joins sources and s3: plan, upload, verify, manifest of one dataset. Knows no jobs."""
