"""How a job is started and watched: the command line, status, preview, devices, the fork server."""
