#!/bin/sh
# CREaTor on C. elegans: stage L3 and chromosome IV are held out, chromosome I chooses the epoch.
#     benchmarks/creator_worm.sh ../shared/realdata/celegans FOLDER "0 1 2" [NAME FLAGS...]
# For each seed FOLDER/NAME_SEED gets predictions and eval.csv; FLAGS are added to the training (default NAME: run).
# benchmarks/creator_runs.py prints them side by side.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
data=$(cd "$1" && pwd)
folder=$2
seeds=$3
name=${4:-run}
[ $# -lt 4 ] && shift 3 || shift 4
python=${PYTHON:-python3}

mkdir -p "$folder"
cd "$folder"
printf 'cell\ttrack\tpath\tcolumn\n' > samples.tsv
for stage in embryo L1 L2 L3 L4 YA; do
    printf '%s\tDNase\t%s/atac/%s.bw\t\n' "$stage" "$data" "$stage" >> samples.tsv
    printf '%s\tTPM\t%s/celegans_stage_tpm.csv\t%s\n' "$stage" "$data" "$stage" >> samples.tsv
done
"$python" "$root/CREaTor.py" prepare --fasta "$data/celegans_WS220.fa.gz" --gtf "$data/celegans_WS220.gtf.gz" \
    --ccres "$data/accessible_sites.bed" --samples samples.tsv --out store --tracks DNase --width 155 --reach 20000 \
    --transform log1p
for seed in $seeds; do
    "$python" "$root/CREaTor.py" train store --out "trained_${name}_$seed" --hold-out-cells L3 \
        --hold-out-chromosomes IV --validation-chromosomes I --seed "$seed" --epochs 16 --patience 0 \
        --learning-rate 3e-3 --warm-up 100 --dropout 0 --batch-elements 64 --cells-a-batch 5 \
        --width 64 --heads 16 --hidden 128 --element-layers 1 "$@"
    "$python" "$root/CREaTor.py" predict store -c "trained_${name}_$seed/best_model.keras" --out "${name}_$seed" --no-links
    "$python" "$root/CREaTor.py" evaluate "${name}_$seed"
done
