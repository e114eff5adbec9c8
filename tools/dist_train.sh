#!/usr/bin/env bash
# Train on several GPUs (or CPU processes): tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# Several machines: set NNODES, and MASTER_ADDR and PORT of one of them. MAX_RESTARTS=3 goes on after a crash by itself.
set -euo pipefail
usage='usage: tools/dist_train.sh CONFIG GPUS [options]'
config=${1:?$usage} gpus=${2:?$usage}
shift 2
files=("$config")
# On one machine a free port and a name of its own, so that two trainings never meet.
nodes=${NNODES:-1}
if [ "$nodes" = 1 ]; then port=${PORT:-0} run_id=rs2sam2-$$; else port=${PORT:-29500} run_id=rs2sam2; fi

# Every start gets a store of its own: in one that is kept, restarted processes find the addresses of the dead ones.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
exec python -m torch.distributed.run \
  --rdzv-backend=c10d --rdzv-endpoint="${MASTER_ADDR:-127.0.0.1}:$port" --rdzv-id="${RUN_ID:-$run_id}" \
  --nnodes="$nodes" --nproc-per-node="$gpus" --max-restarts="${MAX_RESTARTS:-0}" \
  "$(dirname "$0")/train.py" "${files[@]}" --launcher pytorch "$@"
