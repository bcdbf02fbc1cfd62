"""What a network decides, and the batches it is asked about."""
