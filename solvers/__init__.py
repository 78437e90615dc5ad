"""How problems are solved: backends, bounds, decompositions, kernels and one method per problem."""
