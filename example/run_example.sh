#!/bin/sh
# Predicts the expression of the gene in input.pkl with model.keras, both made by make_example.py.
set -eu
cd "$(dirname "$0")"
exec "${PYTHON:-python}" ../CREaTor.py -i input.pkl -c model.keras
