"""What a spreadsheet would run if it stood in a cell of a CSV file. Not here: writing files."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters of cells that are run (OWASP, CSV injection); the last four are wide ones."""
