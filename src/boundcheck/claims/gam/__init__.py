"""What is claimed of gradient norm aware minimisation (GAM), and the checks that only this paper has."""
