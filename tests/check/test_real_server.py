"""The check on a real S3 server, and by a person without rights."""

from __future__ import annotations

import pytest

from check.checking import add, check, make_dataset, problems
from servers.seaweed import NO_LIST, READER, Seaweed
from unprivileged import reachable_folder, run_unprivileged

pytestmark = pytest.mark.slow  # a server a test


@pytest.mark.s3
def test_a_sound_joblist_passes_on_a_real_server_and_leaves_nothing_there(
    tmp_path, joblist, s3_server: Seaweed, bucket, use_s3
):
    add(joblist, "a", make_dataset(tmp_path / "a"), f"s3://{bucket}/J1/a")

    report = check(joblist)

    assert report.exit_code == 0
    client = s3_server.client()
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


@pytest.mark.s3
@pytest.mark.parametrize("keys", [READER, NO_LIST], ids=["no right to write", "no right to list"])
def test_a_right_that_a_real_server_denies_is_a_problem(
    tmp_path, joblist, s3_server: Seaweed, bucket, monkeypatch, keys
):
    for name, value in s3_server.environment(keys).items():
        monkeypatch.setenv(name, value)
    add(joblist, "a", make_dataset(tmp_path / "a"), f"s3://{bucket}/J1/a")

    report = check(joblist)

    assert len(problems(report)) == 1
    assert report.exit_code == 77


_CHECK = """
import sys
from pathlib import Path
from bulkhaul.check.findings import Target
from bulkhaul.check.sources import SourceSize, check_sources
from bulkhaul.messages import silent
from bulkhaul.s3.location import S3Location

source = Path(sys.argv[1])
target = Target("a", source, S3Location("bkt", "a"), done=False)
for finding in check_sources([target], SourceSize(), say=silent):
    print(finding.exit_code, finding.message)
"""


def test_unreadable_files_and_folders_of_a_source_are_a_problem():
    with reachable_folder() as folder:
        source = make_dataset(folder / "a", "closed/inner", "locked", "open")
        (source / "locked").chmod(0)
        (source / "closed").chmod(0)

        done = run_unprivileged(_CHECK, source)

    assert done.stderr == ""
    closed, locked = "'closed' (unreadable: Permission denied)", "'locked' (no right to read it)"
    assert done.stdout.splitlines() == [
        f"66 ❌ {source}: 2 entries cannot be read: {closed}, {locked}; "
        "make them readable, or move them out of the dataset"
    ]
