"""Scored, qualified and routed leads: models learned, rules applied, and on what grounds."""
