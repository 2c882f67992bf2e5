#!/usr/bin/env bash
# Starts a Slurm of this machine alone, for try.sh. It needs slurmctld, slurmd and the client programs on the PATH, but no
# installation, no munge and no root. Tried with Slurm 22.05. Whoever starts it ends the processes in FOLDER/pids.
# Usage: one_node.sh FOLDER; then export SLURM_CONF=FOLDER/slurm.conf
# SLURM_PLUGINS is the folder of Slurm's plugins, where that is not the one that Slurm was built with.
set -euo pipefail
folder=$(realpath "$1")
node=$(hostname -s)

# The path of a program; Debian adds -wlm to the names.
program() {
    PATH=$PATH:/usr/sbin command -v "$1-wlm" || PATH=$PATH:/usr/sbin command -v "$1"
}

mkdir -p "$folder/state" "$folder/spool"
cat >"$folder/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=${SLURM_TRY_PORT:-16817}
SlurmdPort=$((${SLURM_TRY_PORT:-16817} + 1))
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/none
CredType=cred/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
${SLURM_PLUGINS:+PluginDir=$SLURM_PLUGINS}
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SlurmdParameters=config_overrides
NodeName=$node NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
CONF
export SLURM_CONF=$folder/slurm.conf

slurmd=$(program slurmd)
slurmstepd=$(program slurmstepd)
setsid "$(program slurmctld)" -D -c >"$folder/out" 2>&1 &
echo $! >"$folder/pids"
setsid "$slurmd" -D -d "$slurmstepd" >>"$folder/out" 2>&1 &
echo $! >>"$folder/pids"

for _ in {1..60}; do
    [[ $(sinfo --noheader --format=%t 2>>"$folder/out") == idle ]] && exit
    sleep 0.5
done
echo "one_node.sh: Slurm did not start; its logs are in $folder" >&2
exit 1
