"""What the rules call: fetch, train, measure, check, report."""
