"""The check of a data set: its faults, and facts that are useful before training.

It changes no files, and knows no networks.
"""
