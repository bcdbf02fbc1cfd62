"""Sweeps: their folders, their jobs, the fits in them."""
