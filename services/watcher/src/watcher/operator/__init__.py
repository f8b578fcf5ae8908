"""What operators ask and do: the commands, and what they are made of."""
