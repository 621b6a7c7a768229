"""Command line: parse, one call, render. Imports everything; nothing imports it."""

from bulkhaul.garbage import collect_rarely

collect_rarely()  # here, and not in `main`: all that is large is imported in between
