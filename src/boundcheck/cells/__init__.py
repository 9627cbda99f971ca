"""What training and measuring share: the cell with its settings resolved, its networks and its data."""
