"""Move very large results from an HPC file system to S3, and prove that they arrived."""

__version__ = "0.1.0"
