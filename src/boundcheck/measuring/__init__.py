"""Runs every analysis on the snapshots of a batch."""
