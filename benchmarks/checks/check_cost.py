"""What the sink itself costs: puts, memory and pages of a listing at a million keys."""

from __future__ import annotations

import http.client
import re
from pathlib import Path
from urllib.parse import quote

from lab import HERE, Program, run

COUNT = 1_000_000
_TOKEN = re.compile(rb"<NextContinuationToken>(.*?)<")


def _cpu(sink: Program) -> float:
    with Path(f"/proc/{sink.process.pid}/stat").open() as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _memory(sink: Program, name: str) -> int:
    with Path(f"/proc/{sink.process.pid}/status").open() as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name)) >> 10


def _list_all(sink: Program) -> tuple[int, int]:
    """Pages and keys of a whole listing, read without a parser's cost."""
    client = http.client.HTTPConnection("127.0.0.1", sink.port)
    query, pages, keys = "", 0, 0
    while True:
        client.request("GET", f"/bucket?list-type=2&encoding-type=url{query}")
        page = client.getresponse().read()
        pages += 1
        keys += page.count(b"<Contents>")
        found = _TOKEN.search(page, len(page) - 4000)
        if found is None:
            return pages, keys
        query = f"&continuation-token={quote(found[1].decode(), safe='')}"


def check_cost_of_a_million_objects() -> str:
    with Program("sink") as sink:
        sink.client()
        said = run(HERE / "load", str(sink.port), "bucket", str(COUNT), "16384").strip()
        put = _cpu(sink) / COUNT
        assert sink.stats()["objects"] == COUNT
        before = _cpu(sink)
        pages, keys = _list_all(sink)
        page = (_cpu(sink) - before) / pages
        assert keys == COUNT
        memory = _memory(sink, "VmHWM")
        sink.reset()
        left = _memory(sink, "VmRSS")
    assert memory < 250
    assert page < 0.001
    return (
        f"{said}; of the sink's own CPU {1e6 * put:.1f} us a put, {1e3 * page:.2f} ms a page of {keys // pages} keys; "
        f"{memory} MiB, {left} after a reset"
    )
