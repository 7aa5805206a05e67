"""Every fault at every step of a checkpoint's life: cells are data, one runner, a next run goes on from the results."""
