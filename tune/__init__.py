"""Searches over cephray's configuration, with Ray Tune and Optuna.

It sits on top of cephray, and nothing in cephray knows of it.
"""
