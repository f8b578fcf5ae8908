"""One module for each type of output: what tasks it needs, and how they are done."""
