"""Which jobs run in which round: central fractions, and plans that look ahead."""
