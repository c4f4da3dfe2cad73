"""How well do the strategies choose? A simulation with the real strategy code: see docs/balance.md."""
