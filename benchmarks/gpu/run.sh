#!/usr/bin/env bash
# Install the kit beside itself and run it. On the box, in any folder:
#     bash gpu-kit/run.sh                       all stages, 380 s
#     bash gpu-kit/run.sh --deadline 200 zero   other arguments go to python -m benchmarks.gpu
# PYTHON=<interpreter> chooses another python3, OUT=<folder> where gpu.jsonl goes.
set -euo pipefail
kit=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
out=${OUT:-$PWD}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
    --upgrade --target "$work/site" "$kit"/wheels/*.whl
mkdir "$work/lwexp"
tar -xzf "$kit/repository.tar.gz" -C "$work/lwexp"
cd "$work/lwexp"
export PYTHONPATH="$work/lwexp:$work/site" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
[ $# -gt 0 ] || set -- --deadline 380
"$python" -m benchmarks.gpu --out "$out/gpu.jsonl" "$@"
