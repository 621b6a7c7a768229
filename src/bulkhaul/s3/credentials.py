"""Tokens that stay fresh: one single-flight source a grant, used by boto3 and obstore alike.

However many threads want a renewed token, the provider is asked once. The windows are our own and follow the token's
life, because botocore renews from 15 minutes before the end: a shorter token would be fetched at nearly every request.
A provider that fails while the present token lives is asked again later; only with an ended token is that an error.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bulkhaul.errors import AccessDenied, BulkhaulError, CredentialsError, ProviderFailed
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.token import Token
from bulkhaul.stopping import utc_now

_LOG = logging.getLogger(__name__)

_LONGEST_WINDOW = timedelta(minutes=5)
_ONE_TRANSFER = timedelta(hours=12)  # the longest that one dataset is expected to take
_LIFE_SHARE = 4  # a token is renewed in the last quarter of its life
_LONGEST_PAUSE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Grant:
    """A token and the locations it is good for (None: whatever its rights say).

    `renewable` is false for fixed keys: asking again yields something else only when a person has replaced them.
    """

    token: Token
    covers: S3Location | None = None
    renewable: bool = True


Provider = Callable[[S3Location], Grant]
"""Fetches a grant for a location. Raises BulkhaulError; repeats what a repetition cures by itself."""


@dataclass(frozen=True, slots=True)
class _Held:
    """The present grant and when it is due."""

    grant: Grant
    renew_at: datetime | None

    def due(self, now: datetime) -> bool:
        return self.renew_at is not None and now >= self.renew_at

    def ended(self, now: datetime) -> bool:
        end = self.grant.token.expires_at
        return end is not None and now >= end


class CredentialSource:
    """The one keeper of a grant for `location`: the first `token()` asks the provider; safe from many threads."""

    def __init__(self, provider: Provider, location: S3Location, *, now: Callable[[], datetime] = utc_now) -> None:
        self.location = location
        self._provider = provider
        self._now = now
        self._fetching = threading.Lock()
        self._held: _Held | None = None
        self._failure: tuple[CredentialsError, datetime] | None = None
        self._told = False

    @property
    def covers(self) -> S3Location | None:
        """What the present grant is good for (None: anything). Asks the provider when there is no grant yet."""
        return self._present().grant.covers

    @property
    def renewable(self) -> bool:
        """False when these are fixed keys, which end at `token().expires_at` for good."""
        return self._present().grant.renewable

    @property
    def ends_within_a_transfer(self) -> datetime | None:
        """When these keys end, if they are fixed and may end in the midst of a dataset (within 12 h); else None."""
        held = self._held or self._present()
        if held.grant.renewable:
            return None  # asked before each job: an outage of the provider is for the requests to wait out
        end = held.grant.token.expires_at
        return None if end is None or end - self._now() > _ONE_TRANSFER else end

    def serves(self, location: S3Location) -> bool:
        """Whether a grant that is already here covers `location`; never asks the provider."""
        held = self._held
        return held is not None and (held.grant.covers is None or held.grant.covers.covers(location))

    def token(self) -> Token:
        """A token that has not ended, renewed before it does; cheap while it is fresh.

        Raises:
            ProviderFailed: it has ended, and the provider that gave it gives none now.
            CredentialsError: there is none and the provider gives none.
        """
        return self._present().grant.token

    def renew(self, used: Token) -> None:
        """Replace the token that S3 refused as ended; does nothing when somebody else has replaced it already.

        Raises:
            ProviderFailed: the provider fails.
            CredentialsError: it refuses, or has only the same token to give.
        """
        with self._fetching:
            if self._held is None or self._held.grant.token == used:
                self._fetch(refused=used)

    def _present(self) -> _Held:
        held = self._held
        if held is not None and held.renew_at is None and held.grant.token.expires_at is None:
            return held  # keys without an end: asked for at each request, and the clock is the dear part
        now = self._now()
        if held is None or held.ended(now):
            with self._fetching:
                held = self._held
                if held is None or held.ended(self._now()):
                    held = self._fetch(refused=None)
            return held
        # Due but alive: one thread renews it, the others go on with what they have.
        if held.due(now) and self._fetching.acquire(blocking=False):
            try:
                if self._held is held:
                    held = self._renew_early(held)
            finally:
                self._fetching.release()
        return held

    def _renew_early(self, held: _Held) -> _Held:
        try:
            fresh = self._fetch(refused=None)
        except CredentialsError as error:
            _LOG.debug("token kept, its renewal failed: %s", error)
        else:
            if fresh.grant.token != held.grant.token:
                return fresh
        later = self._now() + self._pause(held)
        self._held = _Held(held.grant, renew_at=later)
        self._failure = None
        return self._held

    def _pause(self, held: _Held) -> timedelta:
        end = held.grant.token.expires_at
        left = _LONGEST_PAUSE if end is None else end - self._now()
        return min(_LONGEST_PAUSE, max(left / _LIFE_SHARE, timedelta(milliseconds=100)))

    def _fetch(self, *, refused: Token | None) -> _Held:
        """Ask the provider and hold what it gives; the caller has the lock."""
        now = self._now()
        if self._failure is not None and now < self._failure[1]:
            raise self._failure[0]  # all threads that waited for this one failure share it
        try:
            grant = self._asked()
            held = _Held(grant, renew_at=_renew_at(grant.token, now))
            self._refuse_stale(held, refused)
        except CredentialsError as error:
            self._tell(error, refused)
            self._failure = (error, self._now() + timedelta(seconds=1))
            raise
        self._failure = None
        self._held = held
        self._told = False
        return held

    def _tell(self, error: CredentialsError, refused: Token | None) -> None:
        """Say once that requests wait, however many do."""
        waits = refused is not None or self._held is None or self._held.ended(self._now())
        if isinstance(error, ProviderFailed) and waits and not self._told:
            self._told = True
            _LOG.warning("%s; requests wait, and it is asked again", error)

    def _asked(self) -> Grant:
        try:
            return self._provider(self.location)
        except AccessDenied:
            raise
        except BulkhaulError as error:
            reason = error.reason if isinstance(error, CredentialsError) else f"{error.thing}: {error.reason}"
            if self._held is not None and self._held.grant.renewable:
                raise ProviderFailed(self.location, f"no new token: {reason}", error.next_step) from error
            if isinstance(error, CredentialsError):
                raise
            raise CredentialsError(self.location, f"no token: {reason}", error.next_step) from error

    def _refuse_stale(self, held: _Held, refused: Token | None) -> None:
        step = "log in again" if not held.grant.renewable else "check the provider and this machine's clock"
        if held.ended(self._now()):
            end = held.grant.token.expires_at
            raise CredentialsError(self.location, f"the credentials ended at {end:%Y-%m-%dT%H:%M:%SZ}", step)
        if refused is not None and held.grant.token == refused:
            raise CredentialsError(
                self.location, "S3 says the credentials have ended, and there are no newer ones", step
            )


def _renew_at(token: Token, now: datetime) -> datetime | None:
    if token.expires_at is None:
        return None
    life = token.expires_at - now
    return token.expires_at - min(_LONGEST_WINDOW, life / _LIFE_SHARE)


class CredentialPool:
    """The sources of one process: a new grant is asked for only when no present one covers the location."""

    def __init__(self, provider: Provider, *, now: Callable[[], datetime] = utc_now) -> None:
        self._provider = provider
        self._now = now
        self._lock = threading.Lock()
        self._sources: list[CredentialSource] = []

    def for_location(self, location: S3Location) -> CredentialSource:
        """The source for `location`: one whose grant covers it, else a new one. Asks no provider by itself."""
        with self._lock:
            for source in self._sources:
                if source.location == location or source.serves(location):
                    return source
            source = CredentialSource(self._provider, location, now=self._now)
            self._sources.append(source)
            return source
