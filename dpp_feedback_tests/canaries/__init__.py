"""Everything is done with canary values, and then looked for them where nobody asked for them."""
