"""The engine: arrays, ops, memory and the exchange with other frameworks. `import bridge` is the way in."""
