"""The `aicmo` command: one module a group of commands.

Not here: anything another room could use.
"""
