"""Estimators and bounds of information, on tensors alone."""
