"""One module per suite; importing it registers its cases."""
