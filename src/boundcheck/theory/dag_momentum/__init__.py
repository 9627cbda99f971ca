"""The theorems about adaptive momentum on networks with skip connections, one function each."""
