"""The judge of the campaigns sees each thing that it is there for: one planted fault after the other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.lab import plate_folder, write_plate
from faults.campaign.datasets import Dataset
from faults.campaign.foreign import Foreign, leave_foreign
from faults.campaign.judge import Bucket, faults_after, faults_amid
from faults.campaign.ledger import Watch
from faults.campaign.run import Parts
from faults.campaign.site import Site, open_site
from servers.seaweed import ADMIN

pytestmark = [pytest.mark.s3, pytest.mark.slow]

BUCKET = "judged"


@dataclass(slots=True)
class Moved:
    """Two datasets that have arrived, without any fault."""

    site: Site
    bucket: Bucket
    foreign: Foreign

    @property
    def dataset(self) -> Dataset:
        return self.site.datasets[0]

    @property
    def ledger(self) -> Path:
        return self.site.joblist / ".bulkhaul" / "ledger"

    @property
    def job_file(self) -> Path:
        return self.site.job_file(self.dataset)

    def key(self, name: str) -> str:
        return f"{self.dataset.prefix}/{name}"

    def put(self, key: str, body: bytes) -> None:
        self.bucket.client.put_object(Bucket=BUCKET, Key=key, Body=body)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, parts: Parts) -> Iterator[Moved]:
    folder = tmp_path_factory.mktemp("judged")
    client = parts.server.client()
    client.create_bucket(Bucket=BUCKET)
    datasets = []
    for seed, plate in enumerate(("A0001", "A0002")):
        place = plate_folder(folder / "results", batch="J1", plate=plate)
        write_plate(place, chunks=5, seed=seed)
        (place / "removed-later").write_text("gone")
        datasets.append(Dataset(plate, place))
    with open_site(folder, datasets, bucket=BUCKET, env=ADMIN.environment(parts.server.url)) as site:
        moved = Moved(site, Bucket(client, parts.server.url, BUCKET), leave_foreign(client, BUCKET, datasets[0]))
        code, said = site.run("04_transfer_plates.py", "-i", str(site.joblist))
        assert code == 0, said
        yield moved


@pytest.fixture
def moved(whole: Moved) -> Iterator[Moved]:
    """The same for one test that plants a fault: joblist and bucket are put back."""
    files = {path: path.read_bytes() for path in whole.site.joblist.rglob("*") if path.is_file()}
    objects = dict(whole.bucket.bodies(list(whole.bucket.listing(""))))
    yield whole
    for path in [path for path in whole.site.joblist.rglob("*") if path.is_file()]:
        path.unlink()
    for path, data in files.items():
        path.write_bytes(data)
    for key in whole.bucket.listing("").keys() - objects.keys():
        whole.bucket.client.delete_object(Bucket=BUCKET, Key=key)
    for key, body in objects.items():
        whole.put(key, body)
    for dataset in whole.site.datasets:
        dataset.versions.clear()
        dataset.gone.clear()


def test_a_transfer_without_faults_is_found_whole(moved: Moved) -> None:
    assert faults_amid(moved.site, moved.bucket) == []
    assert faults_after(moved.site, moved.bucket, moved.foreign) == []
    assert moved.bucket.objects_read > 20


LOG = "A0001.zarr.log"


def object_missing(moved: Moved) -> None:
    moved.bucket.client.delete_object(Bucket=BUCKET, Key=moved.key(LOG))


def object_of_other_bytes(moved: Moved) -> None:
    moved.put(moved.key(LOG), b"segmentex\n")


def job_file_lost(moved: Moved) -> None:
    moved.job_file.unlink()


def job_file_cut(moved: Moved) -> None:
    moved.job_file.write_bytes(moved.job_file.read_bytes()[:40])


def job_file_of_another_source(moved: Moved) -> None:
    moved.job_file.write_text(moved.job_file.read_text().replace("A0001", "A0002"))


def status_unknown(moved: Moved) -> None:
    moved.job_file.write_text(moved.job_file.read_text().replace("success", "succes", 1))


def ledger_with_a_gap(moved: Moved) -> None:
    newest = moved.ledger / f"{moved.dataset.job}.000002"
    record = json.loads(newest.read_text())
    (moved.ledger / f"{moved.dataset.job}.000004").write_text(json.dumps(record | {"generation": 4}))


def record_under_another_number(moved: Moved) -> None:
    path = moved.ledger / f"{moved.dataset.job}.000002"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"generation": 7}))


AMID = [
    (object_missing, "FALSE SUCCESS"),
    (object_of_other_bytes, "FALSE SUCCESS"),
    (job_file_lost, "lost"),
    (job_file_cut, "damaged"),
    (job_file_of_another_source, "damaged"),
    (status_unknown, "line 1"),
    (ledger_with_a_gap, "gap"),
    (record_under_another_number, "record 2 says 7"),
]


@pytest.mark.parametrize(("plant", "said"), AMID, ids=lambda value: getattr(value, "__name__", ""))
def test_what_no_moment_may_show(moved: Moved, plant: Callable[[Moved], None], said: str) -> None:
    plant(moved)
    assert any(said in fault for fault in faults_amid(moved.site, moved.bucket))


def line_that_lags(moved: Moved) -> None:
    moved.job_file.write_text(moved.job_file.read_text().replace("success", "ongoing", 1))


def job_without_an_end(moved: Moved) -> None:
    (moved.ledger / f"{moved.dataset.job}.000002").unlink()


def object_of_nobody(moved: Moved) -> None:
    moved.put(moved.key("left.bin"), b"left")


def object_beside_the_datasets(moved: Moved) -> None:
    moved.put("elsewhere/.probe", b"left")


def manifest_of_other_bytes(moved: Moved) -> None:
    path = moved.site.joblist / f"{moved.dataset.job}.manifest.jsonl.gz"
    path.write_bytes((moved.site.joblist / f"{moved.site.datasets[1].job}.manifest.jsonl.gz").read_bytes())


def both_manifests_of_other_names(moved: Moved) -> None:
    manifest_of_other_bytes(moved)
    other = moved.site.joblist / f"{moved.site.datasets[1].job}.manifest.jsonl.gz"
    moved.put(f"{moved.dataset.prefix}.manifest.jsonl.gz", other.read_bytes())


def foreign_object_overwritten(moved: Moved) -> None:
    moved.put(moved.foreign.key, b"ours")


AFTER = [
    (object_missing, "FALSE SUCCESS"),
    (line_that_lags, "line 1 says 'ongoing'"),
    (job_without_an_end, "never became a success"),
    (object_of_nobody, "nobody's"),
    (object_beside_the_datasets, "was left in the bucket"),
    (manifest_of_other_bytes, "another than the joblist's"),
    (both_manifests_of_other_names, "manifest, tree and S3 differ"),
    (foreign_object_overwritten, "foreign object"),
]


@pytest.mark.parametrize(("plant", "said"), AFTER, ids=lambda value: getattr(value, "__name__", ""))
def test_what_no_end_may_show(moved: Moved, plant: Callable[[Moved], None], said: str) -> None:
    plant(moved)
    assert any(said in fault for fault in faults_after(moved.site, moved.bucket, moved.foreign))


def test_uploads_that_are_left_and_foreign_ones_that_are_gone(moved: Moved) -> None:
    client = moved.bucket.client
    left = client.create_multipart_upload(Bucket=BUCKET, Key=moved.key("left.bin"))["UploadId"]
    faults = faults_after(moved.site, moved.bucket, moved.foreign)
    assert [fault for fault in faults if "left.bin is left" in fault]
    client.abort_multipart_upload(Bucket=BUCKET, Key=moved.key("left.bin"), UploadId=left)

    for key, upload in moved.foreign.uploads:
        client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=2, Body=b"ours")
    faults = faults_after(moved.site, moved.bucket, moved.foreign)
    assert sum("parts of a foreign upload" in fault for fault in faults) == 2
    for key, upload in moved.foreign.uploads:
        client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload)
    faults = faults_after(moved.site, moved.bucket, moved.foreign)
    assert sum("was touched" in fault for fault in faults) == 2
    moved.foreign = leave_foreign(client, BUCKET, moved.dataset)


def test_a_changed_file_may_be_any_version_until_it_is_sent_again(moved: Moved) -> None:
    moved.put(moved.key(LOG), b"version between\n")
    moved.dataset.versions[LOG] = {hashlib.sha256(b"version between\n").hexdigest()}
    assert faults_amid(moved.site, moved.bucket) == []
    assert any("FALSE SUCCESS" in fault for fault in faults_after(moved.site, moved.bucket, moved.foreign))


def test_a_number_with_two_owners_and_an_end_by_another_are_seen(moved: Moved) -> None:
    job = moved.dataset.job
    with Watch(moved.site.joblist) as watch:
        end = moved.ledger / f"{job}.000002"
        record = json.loads(end.read_text())
        end.unlink()
        end.write_text(json.dumps(record | {"nonce": "another", "owner": record["owner"] | {"worker": "zombie"}}))
    first, second = watch.faults()
    assert "2 records had the number 2" in first
    assert "zombie ended the claim" in second
