"""What the sink itself costs: memory and pages of a listing at many keys."""

from __future__ import annotations

import http.client
import re
from contextlib import closing
from urllib.parse import quote

import pytest

from benchmarks.running import SERVERS, Program, run

COUNT = 200_000
KIB_A_KEY = 250 * 1024 / 1_000_000
_TOKEN = re.compile(rb"<NextContinuationToken>(.*?)<")


def list_all(sink: Program) -> tuple[int, int]:
    """Pages and keys of a whole listing, read without a parser's cost."""
    query, pages, keys = "", 0, 0
    with closing(http.client.HTTPConnection("127.0.0.1", sink.port)) as client:
        while True:
            client.request("GET", f"/bucket?list-type=2&encoding-type=url{query}")
            page = client.getresponse().read()
            pages += 1
            keys += page.count(b"<Contents>")
            found = _TOKEN.search(page, len(page) - 4000)
            if found is None:
                return pages, keys
            query = f"&continuation-token={quote(found[1].decode(), safe='')}"


@pytest.mark.slow
def test_a_key_costs_a_quarter_of_a_kib_and_a_page_less_than_a_millisecond(sink: Program) -> None:
    sink.client()
    run(SERVERS / "load", str(sink.port), "bucket", str(COUNT), "16384")
    assert sink.stats()["objects"] == COUNT
    before = sink.cpu()
    pages, keys = list_all(sink)
    assert keys == COUNT
    assert (sink.cpu() - before) / pages < 0.001
    assert sink.memory("VmHWM") < COUNT * KIB_A_KEY
    sink.reset()
    assert list_all(sink) == (1, 0)
