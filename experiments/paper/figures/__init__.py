"""Figures 5 to 14 of the paper, of our own runs. `python -m experiments.paper.figures 5` draws one.

A figure is made of runs as far as there are any; what is missing is said with the make line for it.
"""
