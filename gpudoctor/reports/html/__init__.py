"""Reports as one HTML file that needs nothing else: no script, no other file, no network.

`elements` is the only room that writes markup, and the only one that escapes; the others build trees of values.
"""

from gpudoctor.reports.html.check import as_html

__all__ = ["as_html"]
