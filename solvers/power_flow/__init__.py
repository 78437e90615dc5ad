"""Methods for optimal power flow."""
