#!/usr/bin/env bash
# Train on several GPUs (or CPU processes): tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT.
set -euo pipefail
usage='usage: tools/dist_train.sh CONFIG GPUS [options]'
config=${1:?$usage} gpus=${2:?$usage}
shift 2
files=("$config")

exec python -m torch.distributed.run \
  --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}" \
  --master_port="${PORT:-29500}" --nproc_per_node="$gpus" --max-restarts="${MAX_RESTARTS:-0}" \
  "$(dirname "$0")/train.py" "${files[@]}" --launcher pytorch "$@"
