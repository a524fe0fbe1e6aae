"""Many models and many targets: the plan, its cells, where results are kept, and who runs them."""
