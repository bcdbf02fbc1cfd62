"""Training a prototypical network, in episodes."""
