"""What is claimed of binary networks as filters of gradients, and the checks that only this paper has."""
