#!/usr/bin/env bash
# Installs the packages that the tests need beside Python's, where that is possible: as root on Debian or Ubuntu. SLURM for
# its cluster, a C compiler for the benchmarks' servers, strace for faults at system calls. Elsewhere it says so and ends
# well; the tests then skip what needs them, or fail if BULKHAUL_REQUIRE names slurm.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

missing=()
for pair in slurmctld:slurmctld slurmd:slurmd sbatch:slurm-client munged:munge cc:gcc strace:strace; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
((${#missing[@]} == 0)) && exit 0
[[ " ${missing[*]} " == *" gcc "* ]] && missing+=(libc6-dev)

if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "not installed: ${missing[*]}; tests that need them are skipped"
    exit 0
fi
echo "installing ${missing[*]} ..."
export DEBIAN_FRONTEND=noninteractive
options=(-qq -o DPkg::Lock::Timeout=300)
if ! { apt-get "${options[@]}" update && apt-get "${options[@]}" install -y --no-install-recommends "${missing[@]}"; } >/dev/null; then
    echo "they could not be installed: tests that need them are skipped"
fi
