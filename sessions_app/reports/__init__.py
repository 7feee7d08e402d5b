"""What was sold, used and given back in a period: sums over querysets, made by the database."""
