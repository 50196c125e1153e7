"""One module a format, all from the one report."""
