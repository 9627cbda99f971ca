"""What is claimed of adaptive momentum on networks with skip connections, and the checks that only this paper has."""
