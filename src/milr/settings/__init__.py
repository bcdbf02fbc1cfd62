"""What each stage may be told, and the one table of stages."""
