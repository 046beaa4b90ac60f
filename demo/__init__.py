"""The local AWS of the demo and its fleet."""
