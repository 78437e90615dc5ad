"""Array models to and from the modelling libraries that people bring. Each loads its library when used."""
