#!/usr/bin/env bash
# The whole pipeline on drawn birds: train a network, fit MI-LR to it, draw the maps, measure them, and report. `make demo` calls this.
set -euo pipefail
outputs=outputs/demo
started=$SECONDS
say() { printf '\n%s\n' "$*"; }  # minutes are those of two idle cores
say "1 of 6: train the network (1 to 2 minutes)"
milr train-protonet experiment=demo train.episodes=200 outputs=$outputs  # fewer steps than the recipe: minutes, not tables
say "2 of 6: measure its accuracy (seconds)"
milr test-protonet source=latest test.episodes=200 outputs=$outputs
say "3 of 6: fit the explanation (1 to 3 minutes)"
milr fit-milr source=latest experiment=demo milr.steps=100 critic.steps=1000 outputs=$outputs
say "4 of 6: draw the maps (seconds)"
milr visualize source=latest outputs=$outputs
say "5 of 6: measure the maps (half a minute)"
# Fewer episodes than for a table, without pixels and baselines: the report says how far to trust these maps.
milr evaluate source=latest evaluate.episodes=3 'evaluate.baselines=[]' 'evaluate.pixel_percent=[]' outputs=$outputs
say "6 of 6: write the report (seconds)"
milr report latest outputs=$outputs
report=$(ls -t $outputs/reports/*.html | head -n 1)
echo
echo "done in $((SECONDS - started)) s; open the report $report in a browser"
echo "for commands of your own: . .venv/bin/activate, and outputs=$outputs to go on from these runs"
