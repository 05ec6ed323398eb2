"""What is wrong with a data set, and what is worth knowing before training.

It changes nothing, and knows no network.
"""
