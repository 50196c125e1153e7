"""What is known of Python packages: their versions and pins, which of them fit, and how they are installed."""
