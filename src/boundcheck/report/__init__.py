"""Checks theorems, decides claims and builds the report page."""
