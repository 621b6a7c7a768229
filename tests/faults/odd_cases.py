"""What becomes of a transfer at each odd server: test_odd_servers.py tries it, docs/operations.md tells it."""

from __future__ import annotations

from dataclasses import dataclass

from bulkhaul.s3.features import Features
from e2e.lab import job_name, plate_key
from servers.stub import odd, script
from servers.stub.odd import Oddity, meets

PLATE = "A0001"
JOB = job_name(PLATE)
LARGE = "objects.csv"
LOG = f"{plate_key(batch='J1', plate=PLATE)}/{PLATE}.zarr.log"
ODD_NAME = "a b+c%2Fd ü.txt"
BOTH, FAST, PORTABLE = ("obstore", "s3transfer"), ("obstore",), ("s3transfer",)
SMALL_UNCHECKED = "the server does not check CRC64NVME; the MD5 in its ETags proves what arrived"
PARTS_UNCHECKED = "the server does not check the CRC64NVME of parts; the MD5 in their ETags proves them"
NO_WHOLE = "the server keeps no checksum of a whole multipart object; its ETag proves it"
NO_LIST_PARTS = "ListParts is refused; a large file that was cut off is sent from its beginning"
UNPROVEN = "use a server that does; bulkhaul sends nothing that cannot be proved"


@dataclass(frozen=True, slots=True)
class Works:
    """All of it arrives, and the worker says these lines about the server and no other."""

    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The worker ends with this code and one line with these words; no job is touched."""

    words: tuple[str, ...]
    code: int = 69


@dataclass(frozen=True, slots=True)
class Fails:
    """The job ends in `error` for the file `name`, for this reason."""

    name: str
    reason: str
    warnings: tuple[str, ...] = ()


Fate = Works | Refused | Fails


@dataclass(frozen=True, slots=True)
class Case:
    """An oddity of the stub, what becomes of a transfer there, and with which engines that is tried."""

    oddity: Oddity
    fate: Fate
    engines: tuple[str, ...] = FAST


STUBS = {
    "nothing odd": Case(odd.plain, Works(), PORTABLE),
    "ignores checksums": Case(odd.ignores_checksums, Works((SMALL_UNCHECKED, PARTS_UNCHECKED, NO_WHOLE)), BOTH),
    "ignores If-None-Match": Case(odd.ignores_conditions, Works()),
    "refuses checksum headers, 400": Case(
        odd.refuses_checksum_headers(400, "InvalidRequest"),
        Refused(("does not take an object with a CRC64NVME checksum", UNPROVEN)),
    ),
    "refuses checksum headers, 501": Case(
        odd.refuses_checksum_headers(501, "NotImplemented"),
        Refused(("does not take an object with a CRC64NVME checksum", UNPROVEN)),
        PORTABLE,
    ),
    "refuses checksum headers of parts": Case(
        odd.refuses_checksum_headers(501, "NotImplemented", only="UploadPart"), Works((PARTS_UNCHECKED, NO_WHOLE))
    ),
    "lists 3 s late": Case(
        odd.lists_late(3), Works(("a new object is not listed at once; verification waits for it",))
    ),
    "never lists a file": Case(odd.lists_late(1e9, name="/0"), Fails("/0", "S3 does not list it")),
    "Complete: an error in a 200, once": Case(
        meets("CompleteMultipartUpload", script.error_in_200(), times=1), Works()
    ),
    "Complete: an error in a 200, once, of the file": Case(
        meets("CompleteMultipartUpload", script.error_in_200(), times=1, name=LARGE), Works()
    ),
    "Complete: done, an error in a 200": Case(
        meets("CompleteMultipartUpload", script.error_in_200(committed=True), times=1, name=LARGE), Works()
    ),
    "Complete: an error in a 200, for ever": Case(
        meets("CompleteMultipartUpload", script.error_in_200()), Refused(("the server failed", "scripted in a 200"))
    ),
    "ETags without quotes": Case(odd.writes_etags(str), Works(), BOTH),
    "ETags in capitals": Case(odd.writes_etags(lambda etag: f'"{etag.upper()}"'), Works(), BOTH),
    "ETags in capitals, ignores checksums": Case(
        odd.together(odd.writes_etags(lambda etag: f'"{etag.upper()}"'), odd.ignores_checksums),
        Works((SMALL_UNCHECKED, PARTS_UNCHECKED, NO_WHOLE)),
    ),
    "ETags that are no MD5": Case(odd.writes_etags(odd.opaque), Works(), BOTH),
    "ETags that are no MD5, ignores checksums": Case(
        odd.together(odd.writes_etags(odd.opaque), odd.ignores_checksums),
        Refused(("compares no CRC64NVME and its ETags are no MD5s", UNPROVEN)),
    ),
    "no HEAD": Case(odd.lacks("HeadObject"), Works(("HEAD is refused; a lost answer is resolved by sending again",))),
    "no ListParts, no ListMultipartUploads": Case(
        odd.lacks("ListParts", "ListMultipartUploads"),
        Works((NO_LIST_PARTS,)),
    ),
    "no multipart uploads": Case(
        odd.lacks("CreateMultipartUpload"),
        Fails(
            LARGE,
            "the server takes no upload in parts",
            ("multipart uploads are refused or prove nothing; files above the multipart threshold fail",),
        ),
    ),
    "plain keys in listings": Case(odd.lists_plain_keys(says_encoded=False), Works()),
    "plain keys in listings, said to be encoded": Case(
        odd.lists_plain_keys(says_encoded=True), Fails(ODD_NAME, "S3 does not list it")
    ),
    "pages of two": Case(odd.shows_pages_of(2), Works()),
    "keys that come again on the next page": Case(odd.repeats_keys_between_pages, Works()),
    "flips a bit, ignores checksums": Case(
        odd.together(odd.ignores_checksums, odd.stores_other_bytes(odd.flip, name=".log")),
        Fails(f"{PLATE}.zarr.log", "S3's ETag is not the MD5", (SMALL_UNCHECKED, PARTS_UNCHECKED, NO_WHOLE)),
        BOTH,
    ),
    "flips a bit of parts, ignores checksums": Case(
        odd.together(odd.ignores_checksums, odd.stores_other_bytes(odd.flip, name=LARGE, operation="UploadPart")),
        Fails(LARGE, "the ETag of a part is not the MD5", (SMALL_UNCHECKED, PARTS_UNCHECKED, NO_WHOLE)),
    ),
    "holds a damaged copy, ignores checksums": Case(
        odd.together(odd.ignores_checksums, odd.holds(LOG, b"segmentEd\n", said_to_be=b"segmented\n")),
        Works((SMALL_UNCHECKED, PARTS_UNCHECKED, NO_WHOLE)),
    ),
    "cuts bodies off": Case(
        odd.cuts_off_what_it_has_checked(name=".log"), Fails(f"{PLATE}.zarr.log", "S3 lists 5 bytes instead of 10")
    ),
    "cuts all bodies off": Case(
        odd.cuts_off_what_it_has_checked(name=""), Refused(("lists other bytes or another ETag than were put",))
    ),
    "redirects to another region": Case(
        meets("PutObject", script.refuse(307, "TemporaryRedirect")), Refused(("another region", "AWS_REGION"))
    ),
    "another clock": Case(odd.has_another_clock, Works(), BOTH),
}

SERVERS: dict[str, Fate] = {
    "SeaweedFS 4.48": Works(),
    "SeaweedFS 4.34": Works((NO_WHOLE,)),
    "moto 5": Works((SMALL_UNCHECKED, PARTS_UNCHECKED, NO_WHOLE)),
}


def rows() -> list[str]:
    """The rows of the page's two tables: what a worker says of a server by letter, and each oddity with its fate."""
    notes = dict.fromkeys([*Features().notes(), *Features(multipart=True).notes()])
    letters = {note: chr(ord("A") + number) for number, note in enumerate(notes)}
    fates = SERVERS | {name: case.fate for name, case in STUBS.items()}
    told = [f"| {letter} | {note} |" for note, letter in letters.items()]
    return told + [f"| {name} | {_told(fate, letters)} |" for name, fate in fates.items()]


def _told(fate: Fate, letters: dict[str, str]) -> str:
    match fate:
        case Works():
            return ", ".join(["works", *(letters[note] for note in fate.warnings)])
        case Refused():
            return f"refused: {fate.words[0]}"
        case Fails():
            said = ", ".join(["", *(letters[note] for note in fate.warnings)])
            return f"the file fails{said}: {fate.reason}"
