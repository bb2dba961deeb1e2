#!/bin/sh
# CREaTor from files to a page, on a made-up world in which every link is known: prepare, train, predict, evaluate.
#     ./run_world.sh [FOLDER [SEED]]        a few minutes on two cores; FOLDER (default: world) is made
# Cell E and chromosomes 23 and 24 are held out. Stopped, the same command goes on.
# Python: $PYTHON, else that of an active environment, else that of .venv beside this folder, else python3.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${PYTHON:-}" ] && [ -z "${VIRTUAL_ENV:-}" ] && [ -x "$here/../.venv/bin/python" ]; then
    PYTHON="$here/../.venv/bin/python"
fi
python=${PYTHON:-python3}
folder=${1:-world}
seed=${2:-0}

creator() { "$python" "$here/../CREaTor.py" "$@"; }

[ -e "$folder/truth.tsv" ] || "$python" "$here/make_world.py" "$folder"
cd "$folder"
creator prepare --fasta world.fa.gz --gtf world.gtf.gz --ccres ccres.bed --samples samples.tsv --out store \
    --width 100 --transform log1p --reach 500000
creator train store --out "training_$seed" --hold-out-cells E --hold-out-chromosomes 23,24 --seed "$seed" \
    --epochs 40 --patience 0 --learning-rate 2e-3 --warm-up 50 --cells-a-batch 2 --change-weight 1 \
    --width 64 --heads 8 --hidden 128 --element-layers 1
creator predict store -c "training_$seed/best_model.keras" --out "predicted_$seed" --ablation
creator evaluate "predicted_$seed"
creator evaluate --links pairs.tsv --out "predicted_$seed"
