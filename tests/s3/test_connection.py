"""A connection brings the engine that was asked for, makes no request by itself, and both engines reach one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pytest

from bulkhaul.s3.checksums import crc64nvme, encode_crc64nvme
from bulkhaul.s3.connection import connect, connector
from bulkhaul.s3.credentials import CredentialPool, Grant
from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.providers import default_chain
from bulkhaul.s3.token import Token
from servers.seaweed import Seaweed


@pytest.mark.parametrize(
    ("engine", "name"), [("auto", "obstore"), ("obstore", "obstore"), ("s3transfer", "s3transfer")]
)
def test_the_engine_that_was_asked_for_sends_to_the_place_of_awss_variables(
    s3_server: Seaweed,
    bucket: str,
    use_s3: Mapping[str, str],
    engine: Literal["auto", "obstore", "s3transfer"],
    name: str,
) -> None:
    options = S3Options(engine=engine)
    connection = connect(S3Location(bucket, "lab"), options=options, credentials=CredentialPool(default_chain(options)))

    connection.engine.put("lab/key", b"bytes", crc64nvme=encode_crc64nvme(crc64nvme(b"bytes")))

    assert connection.engine.name == name
    assert connection.portable.name == "s3transfer"
    assert s3_server.client().get_object(Bucket=bucket, Key="lab/key")["Body"].read() == b"bytes"
    assert [one.key for one in connection.engine.list_objects("lab/")] == ["lab/key"]


def test_connecting_asks_nobody_anything() -> None:
    def provider(_location: S3Location) -> Grant:
        raise AssertionError("asked for credentials")

    options = S3Options(endpoint_url="http://127.0.0.1:1")
    connection = connect(S3Location("bucket", "lab"), options=options, credentials=CredentialPool(provider))

    assert connection.location == S3Location("bucket", "lab")


def test_what_serves_a_bucket_is_kept_as_long_as_its_credentials_cover_the_next_location() -> None:
    def provider(location: S3Location) -> Grant:
        return Grant(Token("id", "secret"), S3Location(location.bucket, location.prefix.partition("/")[0]))

    credentials = CredentialPool(provider)
    reach = connector(S3Options(endpoint_url="http://127.0.0.1:1"), credentials)
    first = reach(S3Location("bucket", "lab/a"))
    first.source.token()  # from now on its grant is known

    again, other, elsewhere = (reach(S3Location(*where)) for where in (("bucket", "lab/b"), ("bucket", "b"), ("c", "")))

    assert (again.client, again.engine, again.source) == (first.client, first.engine, first.source)
    assert [one.location.prefix for one in (first, again, other)] == ["lab/a", "lab/b", "b"]
    assert other.source is not first.source
    assert other.client is not first.client
    assert elsewhere.client is not other.client
