"""What maps are worth: baselines, metrics, sanity, tables."""
