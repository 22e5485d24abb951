"""The rehearsal: a seeded market of recipients and a virtual clock that drive the real stages.

Nothing here reaches the network. Not here: what a campaign does (`stages`), or how it is shown.
"""
