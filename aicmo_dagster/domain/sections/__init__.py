"""The sections of a campaign document, a module each. Not here: the whole (`campaigns`)."""
