"""The benchmark of scaling: a model of a step on many workers, and what it is fitted to."""
