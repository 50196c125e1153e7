"""What the benchmark does on a device, one module a phase. A phase measures; `verdicts` judges what it measured."""
