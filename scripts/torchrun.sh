#!/usr/bin/env bash
# Train on several machines without SLURM. Run this on each of them, with the same words:
#   NODES=2 GPUS=4 HEAD=node0:29500 scripts/torchrun.sh domain=human name=mine
# HEAD is a machine that all others reach, with a free port.
set -euo pipefail

: "${NODES:?how many machines}"
: "${GPUS:?how many GPUs each has}"
: "${HEAD:?host:port of one of them}"

exec torchrun \
    --nnodes="$NODES" \
    --nproc-per-node="$GPUS" \
    --rdzv-backend=c10d \
    --rdzv-endpoint="$HEAD" \
    --rdzv-id=pixelsmile \
    --max-restarts=0 \
    --local-ranks-filter=0 \
    --signals-to-handle=SIGTERM,SIGINT,SIGUSR1 \
    -m pixelsmile.train \
    model=qwen_image_edit_2511 \
    trainer=fsdp \
    trainer.devices="$GPUS" \
    trainer.num_nodes="$NODES" \
    resume=auto \
    "$@"
