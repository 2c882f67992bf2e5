#!/usr/bin/env bash
# Tries hubbleflow.sbatch on a real Slurm, with a stand-in for hubbleflow that ends as it is told: do the processes start,
# are they told to end before the time limit, which exit codes queue the job again, and does a cancelled job stay cancelled?
# It uses the Slurm of this machine, or starts one by one_node.sh. Without any it ends with code 77. It takes two minutes.
# Usage: try.sh, in a folder that all nodes share
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
place=$(mktemp -d "$PWD/try-slurm-XXXXXX")
export PATH=$place:$PATH TRY_PLACE=$place HUBBLEFLOW_CLUSTER_KEY=/nowhere

clean() {
    if [[ -f $place/pids ]]; then
        xargs kill <"$place/pids" || true
        sleep 1
    fi
    rm -rf "$place"
}
trap clean EXIT

if ! sinfo >/dev/null 2>&1; then
    if ! PATH=$PATH:/usr/sbin command -v slurmctld slurmctld-wlm >/dev/null; then
        echo 'skipped: no Slurm on this machine (Debian: slurmctld, slurmd and slurm-client)'
        exit 77
    fi
    "$here/one_node.sh" "$place"
    export SLURM_CONF=$place/slurm.conf
fi

# The stand-in notes what it was started with. In the job's first start it ends with the codes in TRY, one for each process;
# "kill" is killed, "slow" ends with 75 after two seconds, "wait" waits for a signal. In later starts it ends with 0.
cat >"$place/hubbleflow" <<'STUB'
#!/usr/bin/env bash
note() { echo "$(date +%s) $SLURM_PROCID $*" >>"$TRY_PLACE/$SLURM_JOB_ID.notes"; }
trap 'note told; sleep 1; exit 143' TERM
note began "$@"
read -ra codes <<<"$TRY"
code=${codes[SLURM_PROCID]}
((${SLURM_RESTART_COUNT:-0} == 0)) || code=0
case $code in
    kill) kill -9 $$ ;;
    slow) sleep 2; exit 75 ;;
    wait) for _ in {1..1200}; do sleep 0.1; done ;;
    *) exit "$code" ;;
esac
STUB
chmod +x "$place/hubbleflow"

# Submits the script for two processes that end with the codes $1. Further arguments are options of sbatch. Prints the job.
submit() {
    local codes=$1
    shift
    TRY=$codes sbatch --parsable --nodes=1 --ntasks-per-node=2 --cpus-per-task=1 --mem=0 \
        --output="$place/%j.log" "$@" "$here/hubbleflow.sbatch" s3://sky/catalog --out s3://sky/photoz
}

# A field of what Slurm says of job $1.
field() {
    scontrol show job "$1" | grep -oP "(?<=\b$2=)\S+" | head -1
}

fail() {
    echo "FAILED: job $1 $2" >&2
    cat "$place/$1".* >&2
    exit 1
}

# Waits until job $1 has the state $2 after $3 restarts.
reaches() {
    local state
    for _ in {1..600}; do
        state="$(field "$1" JobState), $(field "$1" Restarts) restarts"
        [[ $state != "$2, $3 restarts" ]] || return 0
        # A job that has ended changes no more; one that is queued again is PENDING.
        [[ ! $state =~ ^(COMPLETED|FAILED|CANCELLED|TIMEOUT) ]] || break
        sleep 0.5
    done
    fail "$1" "is $state, not $2, $3 restarts"
}

# Waits until job $1 has $2 notes with the word $3.
noted() {
    for _ in {1..60}; do
        (($(cat "$place/$1.notes" 2>/dev/null | grep -c " $3") == $2)) && return
        sleep 0.5
    done
    fail "$1" "has not $2 notes '$3'"
}

# Submits processes that end with the codes $1, and asserts the state and the number of restarts that follow.
ends() {
    local job
    job=$(submit "$1")
    reaches "$job" "$2" "$3"
    noted "$job" 2 began
    noted "$job" 0 told
    [[ $2 != PENDING ]] || scancel "$job"
    echo "processes that end with $1: $2, $3 restarts"
}

ends '0 0' COMPLETED 0
ends '1 1' FAILED 0
ends '2 2' FAILED 0
ends '0 3' FAILED 0
ends 'kill slow' PENDING 1

job=$(submit '75 75')
reaches "$job" PENDING 1
scontrol update JobId="$job" StartTime=now
reaches "$job" COMPLETED 1
noted "$job" 4 'began run s3://sky/catalog --out s3://sky/photoz --processes 2 --threads 1'
echo 'exit code 75: queued again, and the second start completes'

job=$(submit 'wait wait')
noted "$job" 2 began
scancel "$job"
reaches "$job" CANCELLED 0
noted "$job" 2 told
echo 'scancel: the processes are told to end, and the job stays cancelled'

# The script's own signal, 90 s before the limit.
job=$(submit 'wait wait' --time=2)
reaches "$job" PENDING 1
noted "$job" 2 told
[[ ! $(cat "$place/$job.log") =~ 'TIME LIMIT' ]] || fail "$job" 'ran into its time limit'
scancel "$job"
echo 'time limit: the processes are told to end before it, and the job is queued again'
