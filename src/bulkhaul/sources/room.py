"""How much may be held ahead of the walk (pure): folders, names and entries are counted apart."""

from __future__ import annotations

RUN = 16
"""Names that are examined together."""

_FOLDERS = 1024
_NAMES = 65_536  # some 60 bytes each
_ENTRIES = 8192  # some 350 bytes each


class Room:
    """What is held ahead. A folder takes the room of the one listed before it until its own size is known.

    Neighbours are alike, so that many can be listed at a time without each being far larger than the room left. Not
    thread-safe.
    """

    def __init__(self) -> None:
        self._folders = self._names = self._entries = 0
        self._usual = 0

    def for_folder(self) -> bool:
        """Whether one more folder may be listed ahead."""
        return self._folders < _FOLDERS and self._names + self._usual <= _NAMES

    def for_run(self) -> bool:
        """Whether more names may be examined ahead."""
        return self._entries + RUN <= _ENTRIES

    def take_folder(self) -> int:
        """Make room for a folder that will be listed; gives the number of names that there is room for."""
        self._folders += 1
        self._names += self._usual
        return self._usual

    def resize(self, names: int, wanted: int) -> bool:
        """Make room for `wanted` names of a folder instead of `names`; False when there is none."""
        if wanted > names and self._names + wanted - names > _NAMES:
            return False
        self._names += wanted - names
        return True

    def listed(self, names: int) -> None:
        """Note the size of a folder, listed ahead or not."""
        self._usual = names

    def give_back_folder(self, names: int) -> None:
        """Give back the room of a folder that the walk has reached, or that could not be listed."""
        self._folders -= 1
        self._names -= names

    def take_run(self, names: int) -> None:
        """Make room for names that will be examined."""
        self._entries += names

    def give_back_run(self, names: int) -> None:
        """Give back the room of names that the walk has reached."""
        self._entries -= names
