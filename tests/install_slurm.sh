#!/usr/bin/env bash
# Installs the SLURM packages that the tests need, where that is possible: as root on Debian or Ubuntu. Elsewhere it says
# so and ends well; the tests then skip what needs SLURM, or fail if BULKHAUL_REQUIRE names it.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

missing=()
for pair in slurmctld:slurmctld slurmd:slurmd sbatch:slurm-client munged:munge; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
((${#missing[@]} == 0)) && exit 0

if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "SLURM is not installed (${missing[*]}): tests that need it are skipped"
    exit 0
fi
echo "installing ${missing[*]} ..."
export DEBIAN_FRONTEND=noninteractive
options=(-qq -o DPkg::Lock::Timeout=300)
if ! { apt-get "${options[@]}" update && apt-get "${options[@]}" install -y --no-install-recommends "${missing[@]}"; } >/dev/null; then
    echo "the SLURM packages could not be installed: tests that need them are skipped"
fi
