"""The rules of the product as pure functions: frames and values in, frames and values out.

Not here: files, databases, networks, clocks, the environment, Dagster.
"""
