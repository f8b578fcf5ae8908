"""What two or more services share, one module for each thing that is talked to."""
