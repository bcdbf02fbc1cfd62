"""Run folders: manifest, checkpoints, states, resume."""
