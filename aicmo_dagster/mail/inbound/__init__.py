"""Mail that comes in: fetching it, and telling bounces, complaints, answers and replies apart.

Not here: what follows from it (`engaging.listen`).
"""
