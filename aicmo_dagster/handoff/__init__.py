"""Handing leads to sales: one module a destination. Not here: whom, or when (`stages`)."""
