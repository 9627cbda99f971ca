"""Starts and watches jobs: the command line, status, preview, devices, the fork server."""
