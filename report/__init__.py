"""The decision report: what a trained model would change for a team's own lists, and what it costs.

psad report runs/mine
"""
