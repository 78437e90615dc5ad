"""Unit commitment over long horizons: windows that hand their end state to the next."""
