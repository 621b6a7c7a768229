"""Whom the providers of these tests serve."""

from __future__ import annotations

from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.location import S3Location

TARGET = S3Location("bucket", "lab/plate")


ACCOUNT = "123456789012"


OPTIONS = S3Options()
