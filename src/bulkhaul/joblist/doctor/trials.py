"""Try on the real folder what the ledger and the locks need, with a second process, and say what mode follows.

The ledger needs an atomic link(2) and rename(2); without these no joblist can live here. A lock that does not
exclude, or cannot be had, costs only wasted attempts: the mode is then "ledger alone".
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from bulkhaul import proc
from bulkhaul.errors import BulkhaulError, StorageError, UsageError
from bulkhaul.fsio import storage_errors
from bulkhaul.joblist.doctor import peer
from bulkhaul.joblist.doctor.findings import Finding, Findings, Level, judged
from bulkhaul.joblist.doctor.nodes import try_between_nodes
from bulkhaul.joblist.locks import Held, file_lock
from bulkhaul.joblist.mounts import mount_of, present_mounts
from bulkhaul.joblist.sharing import half_shared, open_to_all

_PEER_SECONDS = 60.0
_NAMED = 3


def examine_folder(folder: Path, *, party: str | None = None, expected: int = 1, wait: float = 60.0) -> Findings:
    """Try on the real `folder` what the ledger and the locks need, between two processes.

    Inside an array all tasks pass the same `party` and the number of tasks `expected`; they then try each other too,
    waiting at most `wait` seconds. Leaves nothing behind but what the other nodes still have to read.

    Raises:
        UsageError: the folder is missing.
    """
    if not folder.is_dir():
        raise UsageError(folder, "there is no such folder", "check the path")
    findings = [*_mount_findings(folder)]
    for trial in (_link, _exclusive, _rename, _flock):
        findings.append(_tried(folder, trial))
    findings.extend(_sharing_findings(folder))
    if party is not None and not any(finding.fatal for finding in findings):
        findings.extend(try_between_nodes(folder, party=party, expected=expected, wait=wait))
    return Findings(folder, tuple(findings))


def _mount_findings(folder: Path) -> Iterator[Finding]:
    mount = mount_of(folder.resolve(), present_mounts())
    if mount is None:
        yield Finding("mount", Level.WARNING, "cannot tell what file system this is")
        return
    yield judged(
        "mount",
        not mount.hopeless,
        fine=f"{mount.kind} at {mount.point} from {mount.device}",
        otherwise=f"{mount.kind} does not keep machines coherent; put the joblist on a real shared file system",
    )
    for option, meaning in mount.warnings:
        yield Finding("flock by mount option", Level.WARNING, f"{option}: {meaning}")


def _sharing_findings(folder: Path) -> Iterator[Finding]:
    """Who else may write here: whoever can chooses what is sent, from where, and to which target."""
    if open_folders := list(islice(open_to_all(folder), _NAMED)):
        names = ", ".join(map(str, open_folders))
        yield Finding("sharing", Level.WARNING, f"everybody on this machine may write to {names}: `chmod o-w` it")
    if half_shared(folder):
        text = "its group may write here but does not own what others make: `chmod g+s` it, or `chmod g-w`"
        yield Finding("sharing", Level.WARNING, text)


def _tried(folder: Path, trial: Callable[[Path], Finding]) -> Finding:
    name = trial.__name__.strip("_")
    try:
        with storage_errors(folder):
            place = Path(tempfile.mkdtemp(prefix=".bulkhaul-doctor-", dir=folder))
        try:
            return trial(place)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    except (BulkhaulError, OSError) as error:
        return Finding(name, Level.WARNING if name == "flock" else Level.FATAL, str(error))


@contextmanager
def _beside_peer(place: Path, trial: str) -> Iterator[None]:
    """Run the block while another process runs `trial` in `place`; both begin together."""
    command = [sys.executable, "-m", "bulkhaul.joblist.doctor.peer", trial, str(place)]
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(proc.run, command, timeout=_PEER_SECONDS)
        if not peer.meet(place, "doctor", "peer"):
            raise StorageError(place, "a second process did not see the first one", "try again on an idle machine")
        yield
        ended = other.result()
    if ended.code != 0:
        reason = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise StorageError(place, reason, "choose another file system")


def _race(place: Path, trial: str, run: Callable[[Path, str], None], call: str) -> Finding:
    with _beside_peer(place, trial):
        run(place, "doctor")
    won = [number for who in ("doctor", "peer") for number in (place / f"won.{who}").read_text().split()]
    return judged(
        trial,
        sorted(won) == sorted(map(str, range(peer.ROUNDS))),
        fine=f"of two processes exactly one won each of {peer.ROUNDS} races by {call}",
        otherwise=f"two processes at once: {call} is not atomic here; put the joblist on another file system",
    )


def _link(place: Path) -> Finding:
    return _race(place, "link", peer.race_by_link, "link(2)")


def _exclusive(place: Path) -> Finding:
    return _race(place, "exclusive", peer.race_by_exclusive_create, "open(2) with O_EXCL")


def _rename(place: Path) -> Finding:
    torn = 0
    seen: set[bytes] = set()
    target = place / "replaced"
    with _beside_peer(place, "rename"):
        peer.wait_for(target)
        while len(seen) < peer.ROUNDS:
            try:
                text = target.read_bytes()
            except FileNotFoundError:
                torn += 1
                break
            word = text[: len(text) // 1000]
            torn += not text or word * 1000 != text
            seen.add(word)
        (place / "done").touch()
    return judged(
        "rename",
        not torn,
        fine=f"{len(seen)} versions were read while another process replaced the file, each whole",
        otherwise="a reader saw a file missing or torn while it was replaced; put the joblist on another file system",
    )


def _flock(place: Path) -> Finding:
    with _beside_peer(place, "flock"):
        peer.wait_for(place / "holds")
        theirs = (place / "holds").read_text()
        with file_lock(place / "lock", 0) as held:
            mine = held
        (place / "done").touch()
    if theirs != Held.YES or mine is Held.UNAVAILABLE:
        return Finding("flock", Level.WARNING, "flock cannot be had; the ledger alone keeps claims apart")
    return judged(
        "flock",
        mine is Held.BUSY,
        fine="a lock held by one process keeps another out",
        otherwise="two processes held one lock; the ledger alone keeps claims apart",
        level=Level.WARNING,
    )
