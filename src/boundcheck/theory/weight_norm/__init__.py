"""The theorems about weight normalisation, one function each."""
