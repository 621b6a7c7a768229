"""Which variables of the submitting shell reach the tasks: a closed list of names, none of which holds a secret.

SLURM keeps a job's environment in its controller's state files and shows it to administrators. So keys come to a task
from a profile, a file or a provider, never from `AWS_SECRET_ACCESS_KEY` in somebody's shell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

ALWAYS = ("PATH", "LD_LIBRARY_PATH", "HOME", "USER", "LANG")
AWS = (
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
)
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
SECRETS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "BULKHAUL_CREDENTIAL_COMMAND",  # its arguments may hold a token; in the settings file it reaches the tasks
)


def exported_names(environ: Mapping[str, str]) -> list[str]:
    """The names for sbatch's `--export`, sorted."""
    return sorted(name for name, value in environ.items() if _is_listed(name) and not _has_password(name, value))


def kept_back(environ: Mapping[str, str]) -> list[str]:
    """The names that a person may miss in the tasks, sorted: keys, and addresses with a password in them."""
    return sorted(
        name for name, value in environ.items() if name in SECRETS or (_is_listed(name) and _has_password(name, value))
    )


def _is_listed(name: str) -> bool:
    # sbatch gets names separated by commas; anything odder could smuggle in an `=value`.
    if name in SECRETS:
        return False
    return name in (*ALWAYS, *AWS, *PROXIES) or re.fullmatch(r"BULKHAUL_[A-Z0-9_]+", name) is not None


def _has_password(name: str, value: str) -> bool:
    # `https://user:password@proxy:3128`; a proxy is often written without the scheme.
    return "@" in value if name in PROXIES else re.search("://[^/]*@", value) is not None
