"""Planning: turns config files into the jobs to run, with their settings and code versions. Imports no torch."""
