"""What maps are worth: where they point, keep and remove."""
