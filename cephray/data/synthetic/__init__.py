"""Synthetic lateral cephalograms with known landmarks.

The heads are drawn, and copy no patient. The folder knows no networks.
"""
