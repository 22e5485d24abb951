"""The learned score: its speed and memory at 1,000,000 leads.

Not here: how good it is.
"""
