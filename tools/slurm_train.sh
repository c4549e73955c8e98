#!/usr/bin/env bash
# A Slurm cluster: [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=8 SRUN_ARGS=...] tools/slurm_train.sh PARTITION JOB CONFIG [train.py options]
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 PARTITION JOB CONFIG [train.py options]" >&2; exit 2; }
partition=$1 job=$2 config=$3
shift 3
gpus=${GPUS:-4} per_node=${GPUS_PER_NODE:-4}
[ "$gpus" -ge "$per_node" ] || per_node=$gpus
# shellcheck disable=SC2086
exec srun -p "$partition" --job-name="$job" --gres="gpu:$per_node" --ntasks="$gpus" \
  --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-8}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
  python -u "$(dirname "$0")/train.py" "$config" --launcher slurm "$@"
