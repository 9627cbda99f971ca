"""From config files to the plan: what is run, from which settings and which version of the code. Imports no torch."""
