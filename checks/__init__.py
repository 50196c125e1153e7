"""Shipped checks: one module a domain, one function a problem. They arrive by entry point, as a third party's do."""
