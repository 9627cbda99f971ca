"""What is claimed of weight normalisation, and the checks that only this paper has."""
