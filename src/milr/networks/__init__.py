"""Backbones, prototypical networks, training, hooks, freezing."""
