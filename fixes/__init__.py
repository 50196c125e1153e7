"""Shipped fixes: one module a domain, one function a repair. They arrive by entry point, as a third party's do."""
