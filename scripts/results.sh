#!/usr/bin/env bash
# The final tables: drawn birds always; photographs where they are named. `make results` calls this. Hours on two cores.
#   CROPS    a CUB_200_2011 folder cropped to the bird       FRAMES    one of whole photographs
#   WEIGHTS  ImageNet weights of resnet50 (a file, or "imagenet" to download them)
set -euo pipefail
birds=outputs/results/birds
milr train-protonet experiment=demo train.episodes=700 outputs=$birds
milr test-protonet source=latest outputs=$birds
milr fit-milr source=latest experiment=demo outputs=$birds
milr evaluate source=latest outputs=$birds
milr sanity source=latest outputs=$birds
milr fit-milr --multirun source=latest experiment=demo outputs=$birds hydra.sweep.dir=$birds/sweep \
    milr.alpha=0,1,10 milr.beta=0.003,0.03,0.3,3
milr visualize source=$birds/sweep outputs=$birds

if [ -z "${CROPS:-}" ]; then
    echo "CROPS is not set: the tables of photographs are left out"
    exit 0
fi
photographs=outputs/results/photographs
milr train-protonet experiment=cub_crops_imagenet dataset.root="$CROPS" backbone.weights="${WEIGHTS:-imagenet}" \
    outputs=$photographs
milr test-protonet source=latest outputs=$photographs
milr fit-milr source=latest experiment=cub_crops_imagenet outputs=$photographs
milr evaluate source=latest evaluate.episodes=10 outputs=$photographs
if [ -n "${FRAMES:-}" ]; then
    milr evaluate source=latest dataset.root="$FRAMES" dataset.split=all 'evaluate.baselines=[grad_cam]' \
        evaluate.episodes=12 'evaluate.percent=[20,50]' outputs=$photographs
fi
milr sanity source=latest outputs=$photographs
