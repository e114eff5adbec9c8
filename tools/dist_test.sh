#!/usr/bin/env bash
# Test on several GPUs (or CPU processes): tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT.
set -euo pipefail
usage='usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [options]'
config=${1:?$usage} checkpoint=${2:?$usage} gpus=${3:?$usage}
shift 3
files=("$config" "$checkpoint")

exec python -m torch.distributed.run \
  --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}" \
  --master_port="${PORT:-29500}" --nproc_per_node="$gpus" \
  "$(dirname "$0")/test.py" "${files[@]}" --launcher pytorch "$@"
