"""Labelling over ng-routes."""
