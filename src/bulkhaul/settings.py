"""Every setting, read once: built-in default < `bulkhaul.toml` < environment `BULKHAUL_*` < option of the command.

This module alone reads the file and the `BULKHAUL_*` variables; everything else gets values. It keeps where each value
came from, so that `bulkhaul config` and every complaint can say so. AWS's own variables and profiles are left to boto3.
"""

from __future__ import annotations

import difflib
import json
import os
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
)

from bulkhaul.errors import UsageError

FILE_NAME = "bulkhaul.toml"
PREFIX = "BULKHAUL_"
_NO_SETTINGS = {f"{PREFIX}{name}" for name in ("CONFIG", "PYTHON", "REQUIRE")}  # the file, slurm/*.sh, the tests
Words = tuple[str, ...]
Size = Annotated[ByteSize, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]


def _a_second(value: object) -> object:
    text = value.strip().removesuffix("/s") if isinstance(value, str) else value
    if isinstance(text, str) and "/" in text:
        raise ValueError("a rate is one of seconds, such as 200MB/s")  # pydantic reads `5MB/min` as 5 MB
    return text


Bandwidth = Annotated[Size, BeforeValidator(_a_second)]
RequestRate = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_a_second)]


class SiteLayout(BaseModel):
    """A site's own layout, `[layouts.NAME]`: three templates and, if need be, an entry that each dataset must have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    name: str
    key: str
    requires: str | None = None


class Settings(BaseModel):
    """All settings of a site, checked; made by `load_settings`, which knows where each value came from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    results: Path | None = Field(None, description="results folder: the input of `extract`")
    target: str | None = Field(None, description="s3://bucket/prefix that the keys go below")
    layout: str = Field("jump", description="how the results folder holds datasets: jump, folders, or one of `layouts`")
    layouts: dict[str, SiteLayout] = Field(default_factory=dict, description="the site's own layouts")
    depth: int = Field(1, ge=1, description="layout `folders`: the level of the folders that are datasets")
    joblist: Path | None = Field(None, description="the joblist of every step after `extract`")
    joblists: Path = Field(Path("joblists"), description="the folder that `extract` makes joblists in")
    group: str | None = Field(None, description="group of users that shares new joblists")
    lease_ttl: Seconds = Field(180.0, description="seconds without a heartbeat until a claim is taken over")
    heartbeat: Seconds = Field(20.0, description="seconds between two heartbeats; at most a third of lease_ttl")
    engine: Literal["auto", "obstore", "s3transfer"] = Field("auto", description="what sends and lists small files")
    endpoint_url: str | None = Field(None, description="S3 server other than AWS")
    region: str | None = Field(None, description="region of the bucket")
    profile: str | None = Field(None, description="profile of the AWS configuration files")
    ca_bundle: Path | None = Field(None, description="certificates to trust instead of the system's")
    addressing_style: Literal["auto", "path", "virtual"] = Field("auto", description="where the bucket's name stands")
    connect_timeout: Seconds = Field(10.0, description="seconds to wait for a connection")
    read_timeout: Seconds = Field(60.0, description="seconds to wait for an answer")
    credentials: Literal["default", "access-grants", "assume-role", "command"] = Field(
        "default", description="where credentials come from"
    )
    access_grants_account: str | None = Field(None, description="account that owns the S3 Access Grants instance")
    access_grants_target: str | None = Field(None, description="prefix to ask a grant for, if not the dataset's")
    access_grants_permission: Literal["READ", "WRITE", "READWRITE"] = Field("READWRITE", description="right to ask for")
    access_grants_privilege: Literal["Minimal", "Default"] = Field("Default", description="Minimal: this prefix alone")
    access_grants_duration: int = Field(43_200, ge=900, le=43_200, description="seconds that a grant lasts")
    role_arn: str | None = Field(None, description="role that `assume-role` takes")
    credential_command: Words = Field((), description="program and arguments that print credential_process JSON")
    sync_level: Literal["size", "default", "checksum"] = Field("default", description="what proves equal content")
    multipart_threshold: Size = Field(ByteSize(16 << 20), description="from this size on a file is sent in parts")
    part_size: Annotated[ByteSize, Field(ge=5 << 20, le=5 << 30)] = Field(
        ByteSize(16 << 20), description="size of a part"
    )
    max_concurrency: int = Field(512, ge=1, le=1024, description="most requests in flight of one worker")
    max_bandwidth: Bandwidth | None = Field(None, description="most bytes a second of one worker: 200MB, 1.5GiB")
    max_requests: RequestRate | None = Field(None, description="most requests a second of one worker")
    joblist_max_bandwidth: Bandwidth | None = Field(None, description="the same for all workers together")
    joblist_max_requests: RequestRate | None = Field(None, description="the same for all workers together")
    manifest_upload: bool = Field(True, description="put the manifest beside the dataset's prefix as well")
    slurm_partition: str | None = Field(None, description="partition of the array")
    slurm_account: str | None = Field(None, description="account of the array")
    slurm_time: str | None = Field(None, description="time limit of one task, as sbatch writes it")
    slurm_throttle: int | None = Field(None, ge=1, description="most tasks that run at once")
    slurm_array_size: int | None = Field(None, ge=1, description="tasks of the array; by default it fits the joblist")
    slurm_options: Words = Field((), description="further options of sbatch")

    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _file: Path | None = PrivateAttr(None)

    @field_validator("endpoint_url")
    @classmethod
    def _without_password(cls, value: str | None) -> str | None:
        # It is told in messages and kept in the joblist; S3 takes no password in the address anyway.
        if value is not None and "@" in value:
            raise ValueError("an address with a user or password in it is not taken")
        return value

    @field_validator("credential_command", "slurm_options", mode="before")
    @classmethod
    def _split_words(cls, value: object) -> object:
        return shlex.split(value) if isinstance(value, str) else value

    @classmethod
    def with_origins(cls, values: Mapping[str, Any], origins: Mapping[str, str], *, file: Path | None = None) -> Self:
        """Check `values`; `origins` says of each where it was written, `file` is the settings file that was read.

        Raises:
            UsageError: the first value that cannot be used, with its origin and what would do.
        """
        try:
            settings = cls(**values)
        except ValidationError as error:
            raise _complaint(error, origins) from error
        settings._origins = dict(origins)
        settings._file = file
        return settings

    @property
    def file(self) -> Path | None:
        """The settings file that was read, if any."""
        return self._file

    def origin(self, name: str) -> str:
        """Where the value of `name` came from: `default`, `file PATH`, `env NAME` or `option`."""
        return self._origins.get(name, "default")

    def given_as_variables(self, *names: str) -> dict[str, str]:
        """Those of `names` that were options of this command, as variables for other commands."""
        given = [name for name in names if self.origin(name) == "option"]
        return {f"{PREFIX}{name.upper()}": str(getattr(self, name)) for name in given}

    def needed(self, name: str) -> Any:
        """The value of `name`; UsageError, with how to set it, when it is empty."""
        value = getattr(self, name)
        if not value:
            raise UsageError(name, "not set", f"add `{name} = ...` to {FILE_NAME}, or set {PREFIX}{name.upper()}")
        return value


def load_settings(
    options: Mapping[str, Any] | None = None, *, config: Path | None = None, folder: Path | None = None
) -> Settings:
    """The settings of a command started in `folder` (default: the working folder).

    `options` are the command's own, None meaning "not given". `config` names the file instead of the search upwards
    from `folder`. Relative paths count from the file that holds them, elsewhere from `folder`; all come out absolute.

    Raises:
        UsageError: no such file, no TOML, an unknown key, a value that cannot be used.
    """
    folder = (folder or _working_folder()).absolute()
    root = checkout_root(folder)
    layers: list[tuple[Mapping[str, Any], str, Path]] = [({"joblists": root / "joblists"}, "default", folder)]
    file = _named_file(config, folder) or _found_file(folder, root)
    if file is not None:
        layers.append((_file_values(file), f"file {file}", file.parent))
    layers.append((_environment_values(), "env", folder))
    layers.append(({name: value for name, value in (options or {}).items() if value is not None}, "option", folder))

    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer, origin, base in layers:
        for name, value in layer.items():
            values[name] = _absolute(name, value, base)
            origins[name] = f"env {PREFIX}{name.upper()}" if origin == "env" else origin
    return Settings.with_origins(values, origins, file=file)


def checkout_root(folder: Path) -> Path:
    """The checkout that `folder` lies in, `folder` itself when it lies in none."""
    for place in (folder, *folder.parents):
        if _is_there(place / ".git") or _is_there(place / "pyproject.toml"):
            return place
    return folder


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False  # a folder above that may not be looked into is none of ours


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError("working folder", error.strerror or str(error), "change to a folder that exists") from error


def _named_file(config: Path | None, folder: Path) -> Path | None:
    named = config or os.environ.get(f"{PREFIX}CONFIG")
    if not named:
        return None
    path = folder / Path(named).expanduser()
    try:
        found = path.is_file()
    except OSError as error:
        raise UsageError(path, error.strerror or str(error), f"check --config and {PREFIX}CONFIG") from error
    if not found:
        raise UsageError(path, "no such settings file", f"check --config and {PREFIX}CONFIG")
    return path


def _found_file(folder: Path, root: Path) -> Path | None:
    for place in (folder, *folder.parents):
        if _is_there(place / FILE_NAME):
            return place / FILE_NAME
        if place == root:
            break
    return None


def _file_values(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(path, f"not valid TOML ({error})", "correct that line") from error
    except OSError as error:
        raise UsageError(
            path, error.strerror or str(error), "make it readable, or name another with --config"
        ) from error


def _environment_values() -> dict[str, Any]:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known | _NO_SETTINGS:
            nearest = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.0)[0]
            raise UsageError(f"environment {name}", "unknown setting", f"the nearest one is `{nearest}`")
    written = {name: os.environ.get(f"{PREFIX}{name.upper()}") for name in Settings.model_fields}
    values: dict[str, Any] = {name: text for name, text in written.items() if text}  # an empty variable is none
    if "layouts" in values:
        values["layouts"] = _from_json(f"environment {PREFIX}LAYOUTS", values["layouts"])
    return values


def _from_json(origin: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(origin, f"not valid JSON ({error})", "write it as JSON, or put it into the file") from error


def _absolute(name: str, value: Any, base: Path) -> Any:
    field = Settings.model_fields.get(name)
    if field is None or Path not in (field.annotation, *getattr(field.annotation, "__args__", ())):
        return value
    return base / Path(value).expanduser() if isinstance(value, (str, Path)) and str(value) else value


def _complaint(error: ValidationError, origins: Mapping[str, str]) -> UsageError:
    first = error.errors(include_url=False, include_input=False)[0]
    place = [str(part) for part in first["loc"]]
    origin = origins.get(place[0], "default")
    key = ".".join(place)
    if first["type"] != "extra_forbidden":
        return UsageError(f"{key} ({origin})", first["msg"], "correct it there")
    known: Collection[str] = Settings.model_fields if len(place) == 1 else SiteLayout.model_fields
    nearest = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.0)[0]
    return UsageError(f"{key} ({origin})", "unknown setting", f"the nearest one is `{nearest}`")
