"""What a server was seen to do, as a value: kept between workers, and told where it is less than S3's own (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Features:
    """What one bucket's server was seen to do; JSON-safe through `as_dict` and `from_dict`.

    `leftovers` names what the probe wrote and was not allowed to remove.
    """

    checksum_enforced: bool = False
    checksum_stored: bool = False
    head: bool = False
    conditional_put: bool = False
    multipart: bool = False
    multipart_checksum: bool = False
    part_checksum_enforced: bool = False
    list_parts: bool = False
    list_uploads: bool = False
    lists_at_once: bool = False
    lists_in_byte_order: bool = False
    leftovers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join(f"{'' if able else 'no '}{name.replace('_', ' ')}" for name, able in self._abilities().items())

    def as_dict(self) -> dict[str, Any]:
        """The features as JSON holds them."""
        return {**asdict(self), "leftovers": list(self.leftovers)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The features that `as_dict` wrote.

        Raises:
            ValueError: a field is missing or of another type.
        """
        names = {field.name for field in fields(cls)} - {"leftovers"}
        leftovers = data.get("leftovers")
        if not all(isinstance(data.get(name), bool) for name in names) or not isinstance(leftovers, list):
            raise ValueError("not the features of a probe")
        return cls(**{name: data[name] for name in names}, leftovers=tuple(str(one) for one in leftovers))

    def _abilities(self) -> dict[str, bool]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "leftovers"}

    def notes(self) -> tuple[str, ...]:
        """One line for a person for each mode that proves or resumes less than S3's own."""
        lines = {
            "the server does not check CRC64NVME; the MD5 in its ETags proves what arrived": self.checksum_enforced,
            "HEAD is refused; a lost answer is resolved by sending again": self.head,
            "multipart uploads are refused or prove nothing; files above the multipart threshold fail": self.multipart,
            "the server does not check the CRC64NVME of parts; the MD5 in their ETags proves them": (
                self.part_checksum_enforced or not self.multipart
            ),
            "the server keeps no checksum of a whole multipart object; its ETag proves it": (
                self.multipart_checksum or not self.multipart
            ),
            "ListParts is refused; a large file that was cut off is sent from its beginning": (
                self.list_parts or not self.multipart
            ),
            "a new object is not listed at once; verification waits for it": self.lists_at_once,
        }
        left = tuple(f"removal is refused, so this stays behind: {name}" for name in self.leftovers)
        return tuple(line for line, good in lines.items() if not good) + left
