# shellcheck shell=bash
# What the scripts of this folder do in an array task; they read this file after they have found the checkout.
#   . array_task.sh CHECKOUT SCRIPT [JOBLIST]
checkout=$1 script=$2 joblist=${3:-}

python=${BULKHAUL_PYTHON:-$checkout/.venv/bin/python}
if ! command -v "$python" >/dev/null; then
    echo "bulkhaul: $python: no interpreter there; type \`make env\` in $checkout, or set BULKHAUL_PYTHON" >&2
    exit 2
fi

# Only Python knows whether work is left and whether this task should run again, so it gets the very signal that came.
# USR1 is ignored until Python has a handler for it: the signal would end an interpreter that is still starting.
# shellcheck disable=SC2317  # the traps call it
forward() { interrupted=1; kill -s "$1" "$child" 2>/dev/null; }
trap '' USR1
"$python" "$checkout/scripts/$script" ${joblist:+-i "$joblist"} &
child=$!
trap 'forward USR1' USR1
trap 'forward TERM' TERM

# A signal ends `wait` early; the next one waits on, or tells the exit code that bash has kept.
interrupted=1
while ((interrupted)); do
    interrupted=0
    wait "$child"
    code=$?
done
exit "$code"
