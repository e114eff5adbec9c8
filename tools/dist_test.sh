#!/usr/bin/env bash
# Test on several GPUs (or CPU processes): tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
# Several machines: set NNODES, and MASTER_ADDR and PORT of one of them.
set -euo pipefail
usage='usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [options]'
config=${1:?$usage} checkpoint=${2:?$usage} gpus=${3:?$usage}
shift 3
files=("$config" "$checkpoint")
# On one machine a free port and a name of its own, so that two tests never meet.
nodes=${NNODES:-1}
if [ "$nodes" = 1 ]; then port=${PORT:-0} run_id=rs2sam2-$$; else port=${PORT:-29500} run_id=rs2sam2; fi

exec python -m torch.distributed.run \
  --rdzv-backend=c10d --rdzv-endpoint="${MASTER_ADDR:-127.0.0.1}:$port" --rdzv-id="${RUN_ID:-$run_id}" \
  --nnodes="$nodes" --nproc-per-node="$gpus" \
  "$(dirname "$0")/test.py" "${files[@]}" --launcher pytorch "$@"
