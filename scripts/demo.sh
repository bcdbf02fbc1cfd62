#!/usr/bin/env bash
# The whole pipeline on drawn birds: train a network, fit MI-LR to it, draw the maps. `make demo` calls this.
set -euo pipefail
outputs=outputs/demo
started=$SECONDS
milr train-protonet experiment=demo train.episodes=400 outputs=$outputs  # fewer steps than the recipe: minutes, not tables
milr test-protonet source=latest outputs=$outputs
milr fit-milr source=latest experiment=demo milr.steps=150 critic.steps=2000 outputs=$outputs
milr visualize source=latest outputs=$outputs
figure=$(ls -t $outputs/visualize/*/*/sheet.png | head -n 1)
echo
echo "done in $((SECONDS - started)) s; open the figure $figure"
