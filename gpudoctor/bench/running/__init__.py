"""Children of the benchmark, one a GPU, and the parent that starts, watches and ends them."""
