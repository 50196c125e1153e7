"""The benchmark in the user's own PyTorch. `backend` is the parent's side; the other modules are the child, which runs
in a Python that has neither gpudoctor nor, perhaps, NumPy."""
