"""Backbones, prototypical networks and their training; hooks, freezing."""
