"""Column B: results folders and datasets on the local file system. Knows no jobs and no S3."""
