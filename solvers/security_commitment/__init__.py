"""Security-constrained commitment: relaxation, screening, neighbourhoods, proof."""
