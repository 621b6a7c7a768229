"""Settings: rank, origins, where relative paths count from, and complaints that name the key."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from bulkhaul.assembly import dataset_layout, joblist_folder, lease_times, provider, transfer_options
from bulkhaul.errors import UsageError
from bulkhaul.settings import Settings, checkout_root, load_settings


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a settings file and a folder below it."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "scripts").mkdir()
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "bulkhaul.toml"
    path.write_text(text)
    return path


def test_an_option_beats_the_environment_beats_the_file_beats_the_default(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(checkout, 'region = "file"\nprofile = "file"\nengine = "obstore"\n')
    monkeypatch.setenv("BULKHAUL_PROFILE", "env")
    monkeypatch.setenv("BULKHAUL_ENGINE", "auto")
    settings = load_settings({"engine": "s3transfer", "depth": None}, folder=checkout)
    assert (settings.depth, settings.region, settings.profile, settings.engine) == (1, "file", "env", "s3transfer")
    origins = [settings.origin(name) for name in ("depth", "region", "profile", "engine")]
    assert origins == ["default", f"file {file}", "env BULKHAUL_PROFILE", "option"]


def test_the_file_is_looked_for_upwards_to_the_root_of_the_checkout_and_no_further(checkout: Path) -> None:
    inner = checkout / "inner"
    (inner / "scripts").mkdir(parents=True)
    write(checkout, "depth = 3\n")
    assert load_settings(folder=inner / "scripts").depth == 3
    (inner / ".git").mkdir()
    assert load_settings(folder=inner / "scripts").depth == 1
    assert checkout_root(inner / "scripts") == inner


def test_outside_a_checkout_only_the_working_folder_is_looked_at(tmp_path: Path) -> None:
    write(tmp_path, "depth = 3\n")
    (tmp_path / "below").mkdir()
    assert load_settings(folder=tmp_path).depth == 3
    assert load_settings(folder=tmp_path / "below").depth == 1


def test_relative_paths_count_from_the_file_that_holds_them_else_from_the_working_folder(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(checkout, 'results = "data"\nca_bundle = "/etc/ca.pem"\n')
    monkeypatch.setenv("BULKHAUL_JOBLIST", "mine")
    settings = load_settings(folder=checkout / "scripts")
    assert settings.results == checkout / "data"
    assert settings.ca_bundle == Path("/etc/ca.pem")
    assert settings.joblist == checkout / "scripts" / "mine"
    assert settings.joblists == checkout / "joblists"


def test_a_named_file_replaces_the_search(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(checkout, "depth = 3\n")
    (tmp_path / "other.toml").write_text("depth = 4\n")
    monkeypatch.setenv("BULKHAUL_CONFIG", str(tmp_path / "other.toml"))
    assert load_settings(folder=checkout).depth == 4
    assert load_settings(config=checkout / "bulkhaul.toml", folder=checkout).depth == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lease_tll = 3\n", ["lease_tll", "unknown setting", "lease_ttl", "bulkhaul.toml"]),
        ('aws_secret_access_key = "hush"\n', ["aws_secret_access_key", "unknown setting"]),
        ('engine = "fast"\n', ["engine", "bulkhaul.toml", "obstore"]),
        ("part_size = 1\n", ["part_size", "bulkhaul.toml"]),
        ('heartbeat = "soon"\n', ["heartbeat", "bulkhaul.toml", "number"]),
        ("depth = \n", ["bulkhaul.toml", "TOML", "line 1"]),
        ('[layouts.own]\npath = "{a}"\nnme = "{a}"\nkey = "{a}"\n', ["layouts.own", "name"]),
    ],
)
def test_a_bad_file_is_refused_with_key_place_and_reason(checkout: Path, text: str, words: list[str]) -> None:
    write(checkout, text)
    with pytest.raises(UsageError) as caught:
        load_settings(folder=checkout)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "hush" not in str(caught.value)


def test_layouts_may_come_as_a_variable(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHAUL_LAYOUTS", '{"own": {"path": "{run}", "name": "{run}", "key": "{run}"}}')
    settings = load_settings(folder=checkout)
    assert settings.layouts["own"].path == "{run}"
    assert settings.origin("layouts") == "env BULKHAUL_LAYOUTS"
    monkeypatch.setenv("BULKHAUL_LAYOUTS", "own")
    with pytest.raises(UsageError, match=r"^environment BULKHAUL_LAYOUTS: not valid JSON .*; write it as JSON"):
        load_settings(folder=checkout)


def test_a_file_has_layouts_as_tables_alone(checkout: Path) -> None:
    write(checkout, "layouts = '{}'\n")
    with pytest.raises(UsageError, match=r"^layouts \(file .*valid dictionary"):
        load_settings(folder=checkout)


def test_a_bad_environment_value_names_its_variable(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHAUL_LEASE_TTL", "soon")
    with pytest.raises(UsageError, match="env BULKHAUL_LEASE_TTL"):
        load_settings(folder=checkout)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("BULKHAUL_LEASE_TLL", "BULKHAUL_LEASE_TTL"),
        ("BULKHAUL_LEASE__TTL", "BULKHAUL_LEASE_TTL"),
        ("BULKHAUL_ENDPOINT", "BULKHAUL_ENDPOINT_URL"),
        ("BULKHAUL_lease_ttl", "BULKHAUL_LEASE_TTL"),
    ],
)
def test_an_unknown_variable_is_refused_and_the_nearest_one_named(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, name: str, nearest: str
) -> None:
    monkeypatch.setenv(name, "hush")
    with pytest.raises(UsageError) as caught:
        load_settings(folder=checkout)
    assert str(caught.value) == f"environment {name}: unknown setting; the nearest one is `{nearest}`"


def test_variables_that_are_no_settings_are_left_alone(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHAUL_CONFIG", str(write(checkout, "depth = 3\n")))
    monkeypatch.setenv("BULKHAUL_PYTHON", "/env/bin/python")
    monkeypatch.setenv("BULKHAUL_REQUIRE", "s3,slurm")
    monkeypatch.setenv("BULKHAULER", "another program's")
    assert load_settings(folder=checkout).depth == 3


@pytest.mark.parametrize("url", ["https://me:hush@s3.lab.org", "https://hush@s3.lab.org:9000/path"])
def test_an_endpoint_with_a_user_or_password_in_it_is_refused_and_not_told(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    write(checkout, f'endpoint_url = "{url}"\n')
    with pytest.raises(UsageError, match=r"endpoint_url \(file .*\): .*an address with a user or password") as caught:
        load_settings(folder=checkout)
    assert "hush" not in str(caught.value)
    write(checkout, 'endpoint_url = "https://s3.lab.org"\n')
    assert load_settings(folder=checkout).endpoint_url == "https://s3.lab.org"
    monkeypatch.setenv("BULKHAUL_ENDPOINT_URL", url)
    with pytest.raises(UsageError, match="env BULKHAUL_ENDPOINT_URL") as caught:
        load_settings(folder=checkout)
    assert "hush" not in str(caught.value)


def test_a_missing_or_unreadable_named_file_is_refused(checkout: Path) -> None:
    with pytest.raises(UsageError, match="no such settings file"):
        load_settings(config=Path("none.toml"), folder=checkout)
    (checkout / "latin.toml").write_bytes(b'region = "\xff"\n')
    with pytest.raises(UsageError, match="not valid TOML"):
        load_settings(config=checkout / "latin.toml", folder=checkout)


def test_words_and_sizes_are_read_as_people_write_them(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(checkout, 'part_size = "32 MiB"\nslurm_options = ["--qos=long"]\n')
    monkeypatch.setenv("BULKHAUL_CREDENTIAL_COMMAND", "get-keys --for 'my lab'")
    settings = load_settings(folder=checkout)
    assert transfer_options(settings).part_size == 32 << 20
    assert settings.slurm_options == ("--qos=long",)
    assert settings.credential_command == ("get-keys", "--for", "my lab")


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [("200MB/s", 200_000_000), ("100M", 100_000_000), ("1.5GiB", 3 << 29), ("1.5 GiB / s", 0), ("5000", 5_000)],
)
def test_a_limit_of_bytes_is_read_as_people_write_it(checkout: Path, text: str, nbytes: int) -> None:
    if not nbytes:
        with pytest.raises(UsageError, match=r"max_bandwidth \(option\).*200MB/s"):
            load_settings({"max_bandwidth": text}, folder=checkout)
        return
    options = transfer_options(load_settings({"max_bandwidth": text, "max_requests": "2.5/s"}, folder=checkout))
    assert options.worker_limits == (2.5, nbytes)
    assert options.joblist_limits == (math.inf, math.inf)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "fast", "5/min", ""])
@pytest.mark.parametrize("name", ["joblist_max_requests", "joblist_max_bandwidth"])
def test_a_limit_that_is_none_is_refused(checkout: Path, name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name):
        load_settings({name: value}, folder=checkout)


def test_options_alone_become_variables_for_others(checkout: Path) -> None:
    write(checkout, "joblist_max_requests = 100\n")
    settings = load_settings({"max_bandwidth": "1.5GiB", "max_requests": None}, folder=checkout)
    names = ("max_bandwidth", "max_requests", "joblist_max_requests")
    assert settings.given_as_variables(*names) == {"BULKHAUL_MAX_BANDWIDTH": "1610612736"}


def test_a_lease_that_holds_no_three_heartbeats_is_refused(checkout: Path) -> None:
    with pytest.raises(UsageError, match="heartbeat"):
        lease_times(load_settings({"lease_ttl": 5, "heartbeat": 2}, folder=checkout))


def test_a_sites_own_layout_is_used_by_its_name(checkout: Path) -> None:
    write(checkout, 'layout = "own"\n[layouts.own]\npath = "{run}/{plate}"\nname = "{run}-{plate}"\nkey = "{plate}"\n')
    layout = dataset_layout(load_settings(folder=checkout))
    assert (layout.name, layout.path, layout.job_name, layout.key) == (
        "own",
        "{run}/{plate}",
        "{run}-{plate}",
        "{plate}",
    )


def test_an_unknown_layout_lists_the_known_ones(checkout: Path) -> None:
    with pytest.raises(UsageError, match="jump, folders"):
        dataset_layout(load_settings({"layout": "jmup"}, folder=checkout))


@pytest.mark.parametrize(
    ("kind", "missing"),
    [("access-grants", "access_grants_account"), ("assume-role", "role_arn"), ("command", "credential_command")],
)
def test_a_kind_of_credentials_says_which_setting_it_lacks(checkout: Path, kind: str, missing: str) -> None:
    with pytest.raises(UsageError, match=f"{missing}: not set.*BULKHAUL_{missing.upper()}"):
        provider(load_settings({"credentials": kind}, folder=checkout))


def make_joblist(root: Path, name: str) -> Path:
    folder = root / "joblists" / name
    folder.mkdir(parents=True)
    (folder / "job.txt").write_text("todo\n/data\n---\n")
    return folder


def test_the_only_joblist_is_the_default_and_the_example_does_not_count(checkout: Path) -> None:
    make_joblist(checkout, "example")
    (checkout / "joblists" / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no joblist"):
        joblist_folder(load_settings(folder=checkout))
    mine = make_joblist(checkout, "mine")
    assert joblist_folder(load_settings(folder=checkout)) == mine
    make_joblist(checkout, "other")
    with pytest.raises(UsageError, match="mine, other"):
        joblist_folder(load_settings(folder=checkout))
    assert joblist_folder(load_settings({"joblist": mine}, folder=checkout)) == mine


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_no_senders_are_started_for_an_engine_that_is_not_here(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert transfer_options(load_settings({}, folder=checkout)).sender_processes > 0
    assert transfer_options(load_settings({"engine": "s3transfer"}, folder=checkout)).sender_processes == 0
    monkeypatch.setitem(sys.modules, "obstore", None)
    assert transfer_options(load_settings({}, folder=checkout)).sender_processes == 0
