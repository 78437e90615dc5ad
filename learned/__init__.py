"""What makes solving faster: graphs, nets, training and advisors. Solvers work without any of it."""
