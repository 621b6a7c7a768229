"""What the tests of the campaigns share: a server that knows the campaigns' keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults.campaign.run import Parts
from faults.campaigns import shared_parts
from servers.required import missing
from servers.seaweed import program


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """The server and the libraries of the campaigns."""
    if not program().exists():
        missing("s3", "SeaweedFS is not installed")
    with shared_parts(tmp_path_factory.mktemp("campaigns")) as parts:
        yield parts
