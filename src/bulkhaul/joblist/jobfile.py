"""The text of a job file: lenient in what it reads, plain in what it writes.

Text is UTF-8 with `surrogateescape`, so that a source path of any bytes survives a rewrite, and only a newline ends a
line. What is not understood in the header is kept.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bulkhaul.errors import InvalidJobFile

LOG_LINES = 200
_LOG_CHARACTERS = 1000
_BLANKS = " \t\r"
_HEADER_END = "---"
_NEXT_STEP = "restore its lines (status, the dataset's absolute path, `---`), or remove it and extract again"


@dataclass(frozen=True, slots=True)
class JobFile:
    """The parts of a job file: line 1 (lower case), the source, raw header lines, raw log lines."""

    word: str
    source: str
    header: tuple[str, ...] = ()
    log: tuple[str, ...] = ()

    @property
    def headers(self) -> dict[str, str]:
        """The `key: value` lines; keys in lower case."""
        pairs = (line.partition(":") for line in self.header)
        return {key.strip().lower(): value.strip() for key, colon, value in pairs if colon}

    @property
    def target(self) -> str | None:
        """The value of the `target:` line, None in a file of three lines."""
        return self.headers.get("target") or None

    def with_log(self, *lines: str) -> JobFile:
        """The same with `lines` appended to the log, of which the last 200 stay."""
        return replace(self, log=(*self.log, *lines)[-LOG_LINES:])


def parse_jobfile(data: bytes, *, name: str) -> JobFile:
    """The parts of the job file `name`; line 1 may be any word.

    Raises:
        InvalidJobFile: empty, binary, cut off before `---`, without an absolute source path, or with two targets.
    """
    if not data.strip():
        raise _invalid(name, "the job file is empty")
    if b"\0" in data:
        raise _invalid(name, "the job file holds binary data")
    text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    lines = [line.rstrip(_BLANKS) for line in text.split("\n")]
    if lines[-1] == "":
        lines.pop()
    if _HEADER_END not in lines[2:]:
        raise _invalid(name, f"no `{_HEADER_END}` line ends its header (cut off?)")
    end = lines.index(_HEADER_END, 2)
    source = lines[1].lstrip(_BLANKS)
    if not source.startswith("/"):
        raise _invalid(name, "line 2 is not an absolute path")
    if sum(line.partition(":")[0].strip().lower() == "target" for line in lines[2:end]) > 1:
        raise _invalid(name, "it has two `target:` lines")
    return JobFile(lines[0].strip(_BLANKS).lower(), source, tuple(lines[2:end]), tuple(lines[end + 1 :]))


def _invalid(name: str, reason: str) -> InvalidJobFile:
    return InvalidJobFile(f"{name}.txt", reason, _NEXT_STEP)


def render_jobfile(job: JobFile) -> bytes:
    """The bytes of `job`; `parse_jobfile` gives the same parts back."""
    lines = (job.word, job.source, *job.header, _HEADER_END, *job.log)
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def source_problem(source: str) -> str | None:
    """Why `source` cannot stand on line 2, or None."""
    if not source.startswith("/"):
        return "a job's source is an absolute path"
    if "\n" in source or "\0" in source or source != source.strip(_BLANKS):
        return "its path has a line break, or a blank at its end, which a job file cannot hold"
    return None


def log_line(text: str, *, at: datetime | None = None) -> str:
    """One line of the log: the time in UTC, then `text` on one line and cut to a sane length."""
    moment = at or datetime.now(UTC)
    words = " ".join(text.split())
    plain = "".join(sign if sign.isprintable() else "?" for sign in words)[:_LOG_CHARACTERS]
    return f"[{moment:%Y-%m-%dT%H:%M:%SZ}] {plain}"
