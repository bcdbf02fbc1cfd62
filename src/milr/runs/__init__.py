"""Run folders: manifest, checkpoints, states, resume, source runs."""
