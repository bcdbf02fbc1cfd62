#!/usr/bin/env bash
# The final tables: drawn birds always; photographs where they are named. `make results` calls this. Hours on two cores.
#   CROPS    a CUB_200_2011 folder cropped to the bird
#   WEIGHTS  ImageNet weights of resnet50 (a file, or "imagenet" to download them)
set -euo pipefail
# glibc hands freed memory back at once, and asking for it again takes up to a quarter of the time.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592

birds=outputs/results/birds
milr train-protonet experiment=demo train.episodes=700 outputs=$birds
milr test-protonet source=latest outputs=$birds
milr fit-milr --multirun source=latest experiment=demo milr.steps=150 outputs=$birds hydra.sweep.dir=$birds/sweep \
    milr.way=0 milr.alpha=1,10 milr.beta=0.192,1.92,19.2,192,1920
milr sweep-report $birds/sweep
milr fit-milr source=latest experiment=demo outputs=$birds
milr calibrate calibrate.estimators=[infonce] outputs=$birds
milr sanity source=latest 'sanity.checks=[estimators,consistency,convergence]' sanity.seeds=2 outputs=$birds
milr evaluate source=latest outputs=$birds
milr sanity source=latest 'sanity.cascade=[1,6]' outputs=$birds
python scripts/tables.py $birds/evaluate/* $birds/sanity/*

fine=outputs/results/fine_birds
milr train-protonet experiment=drawn_birds outputs=$fine
milr test-protonet source=latest outputs=$fine
milr fit-milr source=latest experiment=drawn_birds outputs=$fine
for seed in 0 1 2; do
    milr evaluate source=latest evaluate.episodes=12 seed=$seed 'evaluate.percent=[5,10,20,30,50]' \
        'evaluate.pixel_percent=[]' 'evaluate.baselines=[grad_cam,saliency,integrated_gradients,refined,iba]' outputs=$fine
done
milr sanity source=latest 'sanity.checks=[seeds,labels,mask_only,judge,fill]' sanity.seeds=2 outputs=$fine

parts=outputs/results/five_parts
milr train-protonet experiment=drawn_birds dataset.family=five dataset.missing=0.5 dataset.root=data/five \
    train.episodes=2400 outputs=$parts
milr fit-milr source=latest experiment=demo milr.steps=1000 outputs=$parts
milr interventions source=latest interventions.episodes=20 interventions.contrasts=80 \
    'interventions.baselines=[refined,grad_cam,iba,integrated_gradients]' outputs=$parts

if [ -z "${CROPS:-}" ]; then
    echo "CROPS is not set: the tables of photographs are left out"
    exit 0
fi
photographs=outputs/results/photographs
milr train-protonet experiment=cub_crops_imagenet dataset.root="$CROPS" backbone.weights="${WEIGHTS:-imagenet}" \
    outputs=$photographs
milr test-protonet source=latest outputs=$photographs
milr fit-milr source=latest experiment=cub_crops_imagenet outputs=$photographs
milr evaluate source=latest episode.query=4 evaluate.episodes=5 'evaluate.baselines=[saliency,refined]' \
    'evaluate.percent=[5,10,20,30,50]' 'evaluate.pixel_percent=[]' outputs=$photographs
milr sanity source=latest 'sanity.cascade=[1,6]' outputs=$photographs
python scripts/tables.py $photographs/evaluate/* $photographs/sanity/*
