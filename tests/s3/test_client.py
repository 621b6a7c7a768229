"""The client makes each request once and goes where AWS's own variables say."""

from __future__ import annotations

from pathlib import Path

import botocore
import pytest
from botocore.session import Session

from bulkhaul import errors
from bulkhaul.s3.client import endpoint_of, make_client, open_session
from bulkhaul.s3.endpoint import Endpoint, S3Options
from os_calls import counted_calls
from s3.reach import client_for_stub, fixed_source
from servers.stub_s3 import StubS3


def test_aws_variables_say_where_s3_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1111")
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    client = make_client("s3", S3Options(), source=fixed_source("a", "b"))

    assert endpoint_of(client, S3Options()) == Endpoint("http://127.0.0.1:1111", "eu-west-3", str(bundle), True)


def test_the_services_own_variable_outranks_the_general_one_and_options_outrank_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1111")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:2222")
    given = S3Options(endpoint_url="http://127.0.0.1:3333/")

    assert endpoint_of(make_client("s3", S3Options(), source=None), S3Options()).url == "http://127.0.0.1:2222"
    assert endpoint_of(make_client("s3", given, source=None), given).url == "http://127.0.0.1:3333"


def test_a_profile_brings_its_region_endpoint_and_style(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[profile lab]\nregion = ap-south-1\nendpoint_url = https://s3.lab.test\ns3 =\n  addressing_style = virtual\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    options = S3Options(profile="lab")

    endpoint = endpoint_of(make_client("s3", options, source=None), options)

    assert endpoint == Endpoint("https://s3.lab.test", "ap-south-1", None, False)


def test_without_an_endpoint_it_is_awss_own_of_the_region() -> None:
    for region in ("us-east-1", "eu-central-1", "cn-north-1"):
        options = S3Options(region=region)
        endpoint = endpoint_of(make_client("s3", options, source=None), options)
        assert endpoint == Endpoint(None, region, None, False)
        assert not endpoint.sign_payload


def test_without_any_region_requests_are_signed_for_the_first_one() -> None:
    assert endpoint_of(make_client("s3", S3Options(), source=None), S3Options()).region == "us-east-1"


@pytest.mark.parametrize(
    ("url", "signed"),
    [
        ("https://s3.lab.test", False),
        ("http://127.0.0.1:9000", False),
        ("http://localhost:9000", False),
        ("http://[::1]:9000", False),
        ("http://10.0.0.7:9000", True),
        ("http://s3.lab.test", True),
    ],
)
def test_bodies_are_signed_only_over_plain_http_to_another_host(url: str, signed: bool) -> None:
    options = S3Options(endpoint_url=url)
    client = make_client("s3", options, source=fixed_source("a", "b"))

    assert endpoint_of(client, options).sign_payload is signed
    assert client.meta.config.s3["payload_signing_enabled"] is signed


def test_a_profile_that_does_not_exist_is_a_usage_error() -> None:
    with pytest.raises(errors.UsageError, match="nosuch"):
        make_client("s3", S3Options(profile="nosuch"), source=None)


def test_a_ca_bundle_that_does_not_exist_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nosuch/ca.pem")

    with pytest.raises(errors.UsageError, match=r"/nosuch/ca\.pem: the CA bundle does not exist"):
        make_client("s3", S3Options(), source=None)


def test_an_endpoint_that_is_no_url_is_a_usage_error() -> None:
    with pytest.raises(errors.UsageError, match=r"s3\.lab\.test"):
        make_client("s3", S3Options(endpoint_url="s3.lab.test"), source=None)


def test_a_service_that_needs_a_region_asks_for_it() -> None:
    with pytest.raises(errors.UsageError, match="set `region` or AWS_REGION"):
        make_client("s3control", S3Options(), source=None)


def test_a_file_is_sent_without_waiting_for_100_continue_and_unsigned_on_the_loopback(
    stub: StubS3, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"some bytes")
    with path.open("rb") as body:
        client_for_stub(stub).put_object(Bucket="bucket", Key="key", Body=body)

    (entry,) = stub.log.entries
    assert "expect" not in entry.headers
    assert entry.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert not [name for name in entry.headers if "checksum" in name]
    assert stub.store.buckets["bucket"]["key"].body == b"some bytes"


def test_a_client_does_not_look_into_the_folder_of_each_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a shared file system those 4,500 calls took a worker longer than all else of its start."""
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))  # one that no client before had: nothing is known of it
    with counted_calls(Path(botocore.__file__).parent / "data") as calls:
        make_client("s3", S3Options(), source=None)

    assert 0 < calls.counts()["stat"] < 60


def test_the_services_that_credentials_need_are_there() -> None:
    services = open_session(S3Options()).get_available_services()

    assert {"s3", "s3control", "sso", "sso-oidc", "sts"} <= set(services) & set(Session().get_available_services())
