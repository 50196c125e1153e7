"""Would this upgrade break the GPU? The same checks, run on the machine as it would be afterwards."""
