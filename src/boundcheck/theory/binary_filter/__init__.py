"""The theorems about binary networks as filters of gradients, one function each."""
