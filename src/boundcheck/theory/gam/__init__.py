"""The theorems about gradient norm aware minimisation (GAM), one function each."""
