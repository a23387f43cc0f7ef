"""Figures 1 to 14 of the paper, of our own runs and images.

A figure is made of what there is; what is missing is said with the make line for it.
"""
