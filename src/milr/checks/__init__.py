"""Whether maps and bits can be trusted, and by how much."""
