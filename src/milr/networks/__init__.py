"""A network as it is: layers, layouts, hooks, freezing."""
