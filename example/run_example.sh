#!/bin/sh
# Predicts the expression of the gene in input.pkl with model.keras, both made by make_example.py.
# Python: $PYTHON, else that of an active environment, else that of .venv beside this folder, else python3.
set -eu
cd "$(dirname "$0")"
if [ -z "${PYTHON:-}" ] && [ -z "${VIRTUAL_ENV:-}" ] && [ -x ../.venv/bin/python ]; then PYTHON=../.venv/bin/python; fi
exec "${PYTHON:-python3}" ../CREaTor.py -i input.pkl -c model.keras
