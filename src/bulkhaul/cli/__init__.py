"""Command line: parse, one call, render. Imports everything; nothing imports it."""
