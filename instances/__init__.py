"""What problems are: frozen typed data, files in and out, seeded generators."""
