"""Whom to ask first: all that is known of the candidates in, an order with its reasons out. Nothing here calls anyone.

    filters ─► tiers (preferred, priority) ─► strategy in each tier ─► stickiness, ramp ─► the shut ones, soonest first

`asked` reads a request, `entry` holds the values, `filters` says who cannot answer at all; `latency`, `cost`, `score`,
`turns` and `rules` are the strategies; `affinity` knows where a prompt is probably remembered, `pace` measures, and
`plan` puts it all together.
"""
