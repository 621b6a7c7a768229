"""One campaign: workers under at least twenty faults, the judge, everything started again, the judge."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from e2e.lab import ENGINES
from faults.campaign.datasets import change, write_datasets
from faults.campaign.deeds import Scene, do_one
from faults.campaign.fates import CLOCKS, JUMPING, Fates
from faults.campaign.foreign import leave_foreign
from faults.campaign.judge import Bucket, faults_after, faults_amid, faults_of_success
from faults.campaign.keys import TOKENS, TokenDesk
from faults.campaign.ledger import Watch, is_proven, status_of
from faults.campaign.proxy import Proxy
from faults.campaign.site import Site, Worker, open_site
from servers.seaweed import ADMIN, Seaweed

LEAST_FAULTS = 20
_LONGEST = 60.0  # seconds that the faults of one campaign may take
_WORKERS = 3
_ROUNDS = 4  # times that everything is started again before a job counts as lost
_DELAY = 0.01  # seconds that each exchange takes at least, so that faults come amid the work
_CODES = {0, 3, 65, 66, 69, 74, 75, 77, 130}
"""Exit codes that a worker may end with here (docs/operations.md)."""
_SKEWED_CODE = 69


@dataclass(slots=True)
class Verdict:
    """What one campaign came to: `faults` that were done to it by name, `failures` of ours in words."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    jobs: int = 0
    objects: int = 0
    objects_under_fire: int = 0
    workers: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What campaigns share: the server and two compiled libraries."""

    server: Seaweed
    failing_files: Path
    false_clock: Path


def run_campaign(seed: int, folder: Path, parts: Parts) -> Verdict:
    """Run the campaign of `seed` in `folder`; its verdict, with no process left."""
    verdict = Verdict(seed)
    began = time.monotonic()
    chance = random.Random(seed)
    client = parts.server.client()
    bucket = Bucket(client, parts.server.url, f"campaign-{seed}-{random.randrange(1 << 20):05x}")
    with _scene(folder, bucket, chance, parts) as scene:
        site = scene.site
        large = next(dataset for dataset in site.datasets if (dataset.folder / "objects.csv").exists())
        foreign = leave_foreign(client, bucket.name, large)
        with Watch(site.joblist) as watch:
            verdict.failures += _under_fire(scene, bucket)
            verdict.failures += site.end_workers(kill=chance.random() < 0.5)
            verdict.failures += faults_amid(site, bucket)
            verdict.objects_under_fire = bucket.objects_read
            _start_again(site)
        verdict.faults = scene.faults()
        verdict.failures += watch.faults() + _misbehaved(site.workers)
        verdict.failures += faults_after(site, bucket, foreign)
        verdict.jobs, verdict.workers = len(site.datasets), len(site.workers)
        verdict.objects = bucket.objects_read
    _remove(bucket)
    verdict.seconds = time.monotonic() - began
    return verdict


@contextmanager
def _scene(folder: Path, bucket: Bucket, chance: random.Random, parts: Parts) -> Iterator[Scene]:
    bucket.client.create_bucket(Bucket=bucket.name)
    with_tokens = chance.random() < 0.5
    chance_of_fates = random.Random(chance.randrange(1 << 30))
    engine = chance.choice(ENGINES)
    with ExitStack() as stack:
        desk = stack.enter_context(TokenDesk()) if with_tokens else None
        fates = Fates(desk, chance_of_fates)
        proxy = stack.enter_context(Proxy(parts.server.url, fates, delay=_DELAY))
        keys = ADMIN if desk is None else TOKENS[0]
        env = {**keys.environment(proxy.url), "BULKHAUL_ENGINE": engine, **(desk.environment if desk else {})}
        datasets = write_datasets(folder / "results", chance)
        with open_site(folder, datasets, bucket=bucket.name, env=env) as site:
            yield Scene(site, fates, desk, chance, parts.failing_files, parts.false_clock)


def _under_fire(scene: Scene, bucket: Bucket) -> list[str]:
    """Keep workers at work and do one deed after the other until enough have hit; false successes on the way."""
    site, chance = scene.site, scene.chance
    faults: list[str] = []
    until = time.monotonic() + _LONGEST
    while scene.faults().total() < LEAST_FAULTS and time.monotonic() < until:
        while len(site.running()) < _WORKERS:
            site.start_worker()
        time.sleep(chance.uniform(0.05, 0.5))
        scene.undo_due()
        if all(is_proven(site.joblist, dataset.job) for dataset in site.datasets):
            faults += _more_work(scene, bucket)
        do_one(scene)
    scene.undo_due(all_of_them=True)
    scene.fates.clear()
    while scene.desk is not None and not scene.desk.up:
        time.sleep(0.1)
    return faults


def _more_work(scene: Scene, bucket: Bucket) -> list[str]:
    """Change some datasets and set their jobs to `todo`, as a person does who segments them again.

    Returns what was false in their successes: the next transfer would mend it before anybody looked.
    """
    faults = []
    for dataset in scene.chance.sample(scene.site.datasets, 3):
        faults += faults_of_success(dataset, bucket)
        for _ in range(20):
            change(dataset, scene.chance)
        _type_todo(scene.site.job_file(dataset))
    return faults


def _start_again(site: Site) -> None:
    """What the one person does who looks after the transfer: `todo` for what is not there, and a worker."""
    for dataset in site.datasets:
        if dataset.changed:
            _type_todo(site.job_file(dataset))
    for _ in range(_ROUNDS):
        for dataset in site.datasets:
            # What is `ongoing` is left alone: workers take it over, and scans repair it, or the job is lost.
            status = status_of(site.joblist, dataset.job)
            if not is_proven(site.joblist, dataset.job) and status in ("error", "success"):
                _type_todo(site.job_file(dataset))
        last = site.start_worker("last")
        last.process.wait(timeout=100)
        done = all(is_proven(site.joblist, dataset.job) for dataset in site.datasets)
        if done and last.process.returncode == 0:
            return


def _type_todo(path: Path) -> None:
    _, _, rest = path.read_bytes().partition(b"\n")
    private = path.with_name(f".{path.name}.swp")
    private.write_bytes(b"todo\n" + rest)
    private.replace(path)


def _misbehaved(workers: list[Worker]) -> list[str]:
    """Workers that ended with a traceback, with an exit code that no page names, or not as a false clock demands."""
    failures = []
    for worker in workers:
        said = worker.said()
        code = worker.process.returncode
        if worker.killed and code == -9:
            continue
        # Who may not even open the joblist's folder is told to check what was typed.
        denied = code == 2 and worker.kind.startswith("EACCES") and "Permission denied; check --input_path" in said
        named = (code in _CODES or denied) and "Traceback (most recent call last)" not in said
        if not named or (worker.kind in CLOCKS and not _says_clock(worker, said)):
            failures.append(f"a {worker.kind} ended with {code}: {said[-1500:]}")
    return failures


def _says_clock(worker: Worker, said: str) -> bool:
    """Whether it ended by one line about its clock, if it came to a request at all: with no job left it makes none.

    One whose clock jumps may have done all that there was, or have ended by another fault, before.
    """
    complaints = sum("clock is more than 15 minutes off" in line for line in said.splitlines())
    code = worker.process.returncode
    if complaints or code == _SKEWED_CODE:
        return (complaints, code) == (1, _SKEWED_CODE) or (not complaints and worker.kind == JUMPING)
    nothing_done = "Nothing left to claim: 0 job(s) succeeded, 0 failed." in said
    return worker.kind == JUMPING or (nothing_done if code in (0, 3) else code in (74, 75, 77, 130))


def _remove(bucket: Bucket) -> None:
    for upload in bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []):
        bucket.client.abort_multipart_upload(Bucket=bucket.name, Key=upload["Key"], UploadId=upload["UploadId"])
    bucket.client.delete_bucket(Bucket=bucket.name)
