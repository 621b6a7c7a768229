#!/bin/bash
#SBATCH --job-name=bulkhaul-verify
#SBATCH --array=0-3
#SBATCH --time=04:00:00
#SBATCH --cpus-per-task=2
#SBATCH --mem=2G
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%A_%a.out
#SBATCH --export=PATH,LD_LIBRARY_PATH,HOME,USER,LANG,BULKHAUL_PYTHON,BULKHAUL_CONFIG,BULKHAUL_JOBLIST,BULKHAUL_TARGET,BULKHAUL_ENGINE,BULKHAUL_LEASE_TTL,BULKHAUL_HEARTBEAT,AWS_PROFILE,AWS_REGION,AWS_DEFAULT_REGION,AWS_ENDPOINT_URL,AWS_ENDPOINT_URL_S3,AWS_CA_BUNDLE,AWS_CONFIG_FILE,AWS_SHARED_CREDENTIALS_FILE,AWS_ROLE_ARN,AWS_WEB_IDENTITY_TOKEN_FILE,AWS_EC2_METADATA_DISABLED
#
# Audits the finished jobs of a joblist:   sbatch slurm/verify_array.sh [JOBLIST]
# From any folder of the checkout. What a site changes: slurm/README.md.

# SLURM runs a copy of this file from a folder of its own, so the way to the checkout starts where sbatch was typed.
for checkout in "${SLURM_SUBMIT_DIR:-}" "$PWD"; do
    while [[ $checkout == /* && ! -f $checkout/slurm/array_task.sh ]]; do checkout=${checkout%/*}; done
    [[ ! -f $checkout/slurm/array_task.sh ]] || break
done
if [[ ! -f $checkout/slurm/array_task.sh ]]; then
    echo "bulkhaul: ${SLURM_SUBMIT_DIR:-$PWD}: not in a checkout of bulkhaul; submit from a folder of the checkout" >&2
    exit 2
fi
# shellcheck source=slurm/array_task.sh
. "$checkout/slurm/array_task.sh" "$checkout" 05_verify_transfer.py "${1:-}"
