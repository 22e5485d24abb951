"""Nurture sends: what is due planned, written, signed, sent, or held where it must be."""
