#!/usr/bin/env bash
# A small, real SLURM cluster on one machine, for tests.  Runs as root, without
# systemd or containers; touches nothing outside DIR and stops only what it started.
#
#   cluster.sh start  DIR          write the configuration, start, wait until ready
#   cluster.sh stop   DIR          stop it all; running jobs are requeued; keeps DIR
#   cluster.sh status DIR          daemons and sinfo; exit status 0 when all is up
#   cluster.sh crash  DIR NODE     a node loses power: its slurmd and jobs die at once
#   cluster.sh boot   DIR NODE     start a crashed node again
#   cluster.sh silence DIR         end the controller, its state saved; jobs run on, start brings it back
#   cluster.sh kill   DIR          kill the controller: it forgets its last seconds; start brings it back
#
# After start:  . DIR/env.sh  sets SLURM_CONF (and SLURM_REST_URL), which is all that
# sbatch, squeue, sinfo ... need.  `start` is idempotent: it keeps a configuration it finds
# and starts only what is not running.  For fresh settings: stop, remove DIR, start.
#
# Settings, read when DIR is first configured:
#   SLURM_NODES=2  SLURM_NODE_CPUS=4  SLURM_NODE_MEM=4096 (MiB)   may exceed the real machine
#   SLURM_MAX_ARRAY=1001        largest array index is one less
#   SLURM_DOWN_AFTER=6          SlurmdTimeout; a crashed node is DOWN some 10 s after that
#   SLURM_REQUEUE_DELAY=5       seconds until a requeued job may start again
#   SLURM_KILL_WAIT=5           seconds from SIGTERM to SIGKILL
#   SLURM_EXTRA_CONF=FILE       lines appended to slurm.conf; they override those before
#   SLURM_BASE_PORT=16800       where the search for free ports begins
#   SLURM_REST=auto             1: need slurmrestd, 0: never, auto: when installed
#
# Each node is one slurmd in its own PID, UTS and mount namespace.  So a node has its own
# hostname (node1, node2 ...), and killing its first process kills everything on it.  All
# nodes share the machine's file system and its loopback network.
set -euo pipefail
umask 022
PATH=$PATH:/usr/sbin:/sbin              # where the daemons are

APT_LINE='apt-get update && apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge'
APT_REST='slurmrestd slurm-wlm-jwt-plugin'
WAIT_S=${SLURM_WAIT:-20}                # patience for one daemon to come up or go away

say()  { printf 'cluster: %s\n' "$*"; }
die()  { printf 'cluster: error: %s\n' "$*" >&2; exit 1; }

usage() { sed -n '2,/^set -e/{/^#/!d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }

# --- processes ----------------------------------------------------------------------------
# A PID file holds "PID STARTTIME", so a PID that the kernel has reused is never taken for ours.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

record() { echo "$2 $(start_time "$2")" > "$DIR/run/$1.pid"; }

alive() {                               # alive NAME: sets PID
    local born now state
    [[ -s $DIR/run/$1.pid ]] || return 1
    read -r PID born < "$DIR/run/$1.pid"
    now=$(start_time "$PID") || return 1
    [[ -n $now && $now == "$born" ]] || return 1
    state=$(sed 's/.*) //' "/proc/$PID/stat" 2>/dev/null | cut -c1)
    [[ -n $state && $state != Z ]]
}

until_true() {                          # until_true SECONDS COMMAND...
    local end=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

gone() { ! alive "$1"; }

end() {                                 # end NAME SIGNAL: signal, wait, then insist
    if alive "$1"; then
        kill "-$2" "$PID" 2>/dev/null || true
        until_true "$WAIT_S" gone "$1" || { alive "$1" && kill -KILL "$PID"; } || true
        until_true 5 gone "$1" || die "$1 (PID $PID) does not end"
    fi
    rm -f "$DIR/run/$1.pid"
}

launch() {                              # launch NAME COMMAND...: in the background, own session
    local name=$1; shift
    setsid "$@" </dev/null >>"$DIR/log/$name.out" 2>&1 9>&- &
    record "$name" $!
}

wait_up() {                             # wait_up NAME COMMAND...: until COMMAND works
    local name=$1 end=$((SECONDS + WAIT_S)); shift
    until "$@" >/dev/null 2>&1; do
        if ! alive "$name" || ((SECONDS >= end)); then
            tail -n 15 "$DIR/log/$name".{log,out} >&2 2>/dev/null || true
            die "$name did not come up (logs in $DIR/log)"
        fi
        sleep 0.1
    done
}

# --- configuration ------------------------------------------------------------------------
need_tools() {
    local tool missing=
    for tool in munged slurmctld slurmd sbatch scontrol sinfo; do
        command -v "$tool" >/dev/null || missing+=" $tool"
    done
    [[ -z $missing ]] || die "not installed:$missing.  Run: $APT_LINE"
    ((EUID == 0)) || die "needs root (slurmd starts jobs as their users)"
    unshare --pid --fork --mount-proc --uts true 2>/dev/null ||
        die "cannot make PID, mount and UTS namespaces here (needs CAP_SYS_ADMIN)"
    # AF_UNIX paths end at 107 characters; slurmstepd's is the longest made here.
    ((${#DIR} <= 64)) || die "DIR is too long for UNIX sockets (64 characters at most): $DIR"
}

have_rest() {
    command -v slurmrestd >/dev/null &&
        compgen -G '/usr/lib/*/slurm*/auth_jwt.so' >/dev/null
}

port_busy() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

pick_ports() {                          # pick_ports COUNT: sets BASE, the first of COUNT free ports
    local p
    for ((BASE = ${SLURM_BASE_PORT:-16800}; BASE < 30000; BASE += $1)); do
        for ((p = BASE; p < BASE + $1; p++)); do port_busy "$p" && continue 2; done
        return 0
    done
    die "no $1 free ports in a row"
}

configure() {
    local host nodes=${SLURM_NODES:-2} rest=${SLURM_REST:-auto} jwt='' i
    host=$(hostname -s)
    mkdir -p "$DIR"/{munge,state,spool,log,run}
    chmod 700 "$DIR/state"
    [[ -s $DIR/slurm.conf ]] && return

    [[ $rest != auto ]] || { have_rest && rest=1 || rest=0; }
    if [[ $rest == 1 ]]; then
        have_rest || die "no REST here.  Run: apt-get install -y --no-install-recommends $APT_REST"
        (umask 077; head -c 32 /dev/urandom > "$DIR/jwt.key")
        jwt="AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key=$DIR/jwt.key"
    fi
    (umask 077; head -c 1024 /dev/urandom > "$DIR/munge/munge.key")
    pick_ports $((nodes + 2))           # slurmctld, slurmrestd, then the nodes

    # Hides /etc/hosts from the daemons, which bind to the address of their own host name:
    # it may be 127.0.1.1 there, or the machine's real address, or missing.
    { printf '127.0.0.1 localhost %s' "$host"
      for ((i = 1; i <= nodes; i++)); do printf ' node%d' "$i"; done; echo; } > "$DIR/hosts"

    cat > "$DIR/slurm.conf.new" <<CONF
ClusterName=testcluster
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$BASE
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/spool/%n
SlurmctldPidFile=$DIR/run/slurmctld.self
SlurmdPidFile=$DIR/run/%n.self
SlurmctldLogFile=$DIR/log/slurmctld.log
SlurmdLogFile=$DIR/log/%n.log
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny

# cred_expire is also how long a requeued job waits before it may start again.
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$DIR/munge/munge.socket,cred_expire=${SLURM_REQUEUE_DELAY:-5}
$jwt

# No cgroups: the kernel's process tree is enough for a test.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none

# CPUs are counted and memory is not, and a node may claim more than the machine has.
# The partition is LLN, so tasks spread over the nodes rather than fill the first.
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MaxArraySize=${SLURM_MAX_ARRAY:-1001}
MaxJobCount=20000

# Quick reactions.  Finished jobs stay visible to scontrol and squeue for MinJobAge.
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SlurmdTimeout=${SLURM_DOWN_AFTER:-6}
MessageTimeout=5
SlurmctldTimeout=10
KillWait=${SLURM_KILL_WAIT:-5}
MinJobAge=3600
ReturnToService=2
JobRequeue=1

# sacct -c reads this file.
JobCompType=jobcomp/filetxt
JobCompLoc=$DIR/jobcomp.log
AccountingStorageType=accounting_storage/none

NodeName=node[1-$nodes] NodeAddr=127.0.0.1 Port=[$((BASE + 2))-$((BASE + 1 + nodes))] CPUs=${SLURM_NODE_CPUS:-4} RealMemory=${SLURM_NODE_MEM:-4096} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES LLN=YES MaxTime=INFINITE DefaultTime=60 State=UP

# What is submitted to this one pushes out what runs in main, and SLURM requeues that.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=urgent Nodes=ALL LLN=YES PriorityTier=10 MaxTime=INFINITE DefaultTime=60 State=UP
CONF
    [[ -z ${SLURM_EXTRA_CONF:-} ]] || cat "$SLURM_EXTRA_CONF" >> "$DIR/slurm.conf.new"
    {
        echo "export SLURM_CONF='$DIR/slurm.conf'"
        [[ $rest != 1 ]] || echo "export SLURM_REST_URL='http://127.0.0.1:$((BASE + 1))'"
    } > "$DIR/env.sh"
    mv "$DIR/slurm.conf.new" "$DIR/slurm.conf"          # last: its presence means configured
}

node_names() { scontrol show hostnames "$(sed -n 's/^NodeName=\([^ ]*\).*/\1/p' "$DIR/slurm.conf" | paste -sd,)"; }

node_up() {
    case $(sinfo -h -N -p main -n "$1" -o %T) in idle|mixed|allocated|completing) ;; *) return 1 ;; esac
}

nodes_up() { local n; for n in $(node_names); do node_up "$n" || return 1; done; }

# --- daemons ------------------------------------------------------------------------------
start_munge() {
    alive munged && return
    # --force: munged objects to a parent of DIR that other users cannot enter, as pytest's.
    launch munged munged --foreground --force --num-threads=2 \
        --key-file="$DIR/munge/munge.key" --socket="$DIR/munge/munge.socket" \
        --pid-file="$DIR/munge/munged.self" --seed-file="$DIR/munge/munged.seed"
    wait_up munged munge -n -S "$DIR/munge/munge.socket"
}

start_controller() {
    alive slurmctld && return
    # shellcheck disable=SC2016
    launch slurmctld unshare --mount -- \
        bash -c 'mount --bind "$0/hosts" /etc/hosts; exec slurmctld -D -f "$0/slurm.conf"' "$DIR"
    wait_up slurmctld sinfo -h
}

# The node's first process; it ends when slurmd does, and everything on the node ends with it.
# shellcheck disable=SC2016
NODE_INIT='hostname "$1"; mount --bind "$2/hosts" /etc/hosts
slurmd -D -N "$1" -f "$2/slurm.conf" & wait $!'

start_node() {
    alive "$1" && return
    mkdir -p "$DIR/spool/$1"
    launch "$1" unshare --pid --fork --kill-child=KILL --mount-proc --uts -- \
        bash -c "$NODE_INIT" "$1" "$1" "$DIR"
}

start_rest() {
    local address
    address=$(sed -n "s|.*http://\(.*\)'|\1|p" "$DIR/env.sh")
    [[ -n $address ]] || return 0
    alive slurmrestd && return
    # It refuses to be root unless told, and takes no tokens without SLURM_JWT.  The plugin
    # is named because the others that it would load need slurmdbd.
    launch slurmrestd env SLURMRESTD_SECURITY=disable_user_check SLURM_JWT=daemon \
        slurmrestd -f "$SLURM_CONF" -a rest_auth/jwt -s openapi/v0.0.38 "$address"
    wait_up slurmrestd port_busy "${address##*:}"
}

cmd_start() {
    configure
    start_munge
    start_controller
    local n
    for n in $(node_names); do start_node "$n"; done
    start_rest
    for n in $(node_names); do
        # A controller that was killed may have drained nodes ("Duplicate jobid").
        [[ $(sinfo -h -N -p main -n "$n" -o %T) != drain* ]] || scontrol update "NodeName=$n" State=RESUME
        wait_up "$n" node_up "$n"
    done
    say "ready: $(sinfo -h -o '%D nodes (%N), %c CPUs each'); . $DIR/env.sh"
}

cmd_stop() {
    local n
    end slurmrestd INT
    for n in $(node_names); do end "$n" KILL; done
    # Otherwise the controller, back again, might long believe that the jobs still run.
    if alive slurmctld; then
        timeout 5 scontrol update NodeName=ALL State=DOWN Reason=stopped || true
    fi
    end slurmctld TERM                                  # saves its state
    end munged TERM
    say "stopped"
}

cmd_status() {
    local name bad=0
    [[ -s $DIR/slurm.conf ]] || { say "no cluster in $DIR"; exit 3; }
    for name in munged slurmctld $(node_names) $(grep -q REST "$DIR/env.sh" && echo slurmrestd); do
        if alive "$name"; then say "$name runs, PID $PID"; else say "$name is not running"; bad=1; fi
    done
    alive slurmctld && sinfo
    ((bad == 0)) && nodes_up || exit 1
}

known_node() { node_names | grep -qx -- "${1:-}" || die "no such node: ${1:-}"; }

cmd_crash() { known_node "${1:-}"; end "$1" KILL; say "$1 crashed"; }

cmd_boot() {
    known_node "${1:-}"
    start_node "$1"
    wait_up "$1" node_up "$1"
    say "$1 is up"
}

cmd_silence() { end slurmctld TERM; say "the controller is down"; }

cmd_kill() { end slurmctld KILL; say "the controller was killed"; }

# --- main ---------------------------------------------------------------------------------
(($# >= 2)) || usage
COMMAND=$1 DIR=$(realpath -m -- "$2"); shift 2
[[ $DIR =~ ^[A-Za-z0-9/._-]+$ ]] || die "DIR may hold letters, digits and ._- only: $DIR"
export SLURM_CONF=$DIR/slurm.conf
case $COMMAND in
    start|stop|crash|boot|silence|kill)
        if [[ $COMMAND == start ]]; then
            need_tools
            mkdir -p "$DIR"
        elif [[ ! -s $SLURM_CONF ]]; then
            say "no cluster in $DIR"
            [[ $COMMAND == stop ]] && exit 0 || exit 3
        fi
        exec 9>"$DIR/.lock"; flock 9                    # one change at a time
        "cmd_$COMMAND" "$@" ;;
    status) cmd_status ;;
    *) usage ;;
esac
