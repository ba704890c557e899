"""From variants to a graph of steps, and a look at what building it would come to."""
