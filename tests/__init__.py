"""The project's tests: unit, contract, simulation, integration, crash."""
