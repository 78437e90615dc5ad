"""How allocation runs live: cluster state, policies, simulator and plugins. Asks for plans, never optimises itself."""
