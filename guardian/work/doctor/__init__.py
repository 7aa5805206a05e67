"""What may be wrong with a host: one file for each thing that is looked at."""
