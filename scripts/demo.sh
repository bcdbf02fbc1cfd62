#!/usr/bin/env bash
# The whole pipeline on drawn birds: train a network, fit MI-LR to it, draw the maps, measure them, and report. `make demo` calls this.
set -euo pipefail
outputs=outputs/demo
started=$SECONDS
milr train-protonet experiment=demo train.episodes=200 outputs=$outputs  # fewer steps than the recipe: minutes, not tables
milr test-protonet source=latest test.episodes=200 outputs=$outputs
milr fit-milr source=latest experiment=demo milr.steps=100 critic.steps=1000 outputs=$outputs
milr visualize source=latest outputs=$outputs
# Fewer episodes than for a table, without pixels and baselines: the report says how far to trust these maps.
milr evaluate source=latest evaluate.episodes=3 'evaluate.baselines=[]' 'evaluate.pixel_percent=[]' outputs=$outputs
milr report latest outputs=$outputs
report=$(ls -t $outputs/reports/*.html | head -n 1)
echo
echo "done in $((SECONDS - started)) s; open the report $report in a browser"
echo "for commands of your own: . .venv/bin/activate, and outputs=$outputs to go on from these runs"
