"""Claims and checks that every study may use."""
