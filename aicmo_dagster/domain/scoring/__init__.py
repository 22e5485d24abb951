"""Scores from 0 to 100, each exactly the sum of its contributions."""
