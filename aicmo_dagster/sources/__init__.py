"""Where leads come from: one module a provider, each giving rows with our field names as raw text.

Not here: what makes a row a lead (`domain.intake`), or keeping it (`store`).
"""
