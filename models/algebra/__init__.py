"""The array modelling layer: a model is written as blocks of arrays and compiles once to a sparse program.

>>> from apportion.models.algebra import Model
>>> model = Model("warehouse")
>>> stock = model.add_variables("stock", shape=4, upper=10)
>>> block = model.add_constraints("smooth", stock[1:] - stock[:-1] <= 2)
>>> model.maximise(stock.sum())
>>> model.compile().num_rows
3
"""

from __future__ import annotations

from apportion.models.algebra.blocks import Constraints, Variables
from apportion.models.algebra.expressions import LinearExpression, concatenate
from apportion.models.algebra.model import Model
from apportion.models.algebra.quadratic import QuadraticExpression
from apportion.models.algebra.relations import Relation

__all__ = ["Constraints", "LinearExpression", "Model", "QuadraticExpression", "Relation", "Variables", "concatenate"]
