"""What the benchmark computes on: the CPU through NumPy, a GPU through CuPy and cuBLAS, and the precisions of both."""
