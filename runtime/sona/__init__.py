"""Learning which model is good enough for which prompt, from the outcome of the chosen model alone.

topics  ──►  head  ──►  explore  ──►  policy          decides, in the edge, without any I/O
              ▲  ▲
    feedback ─┘  └── micro, base (low rank), bank     learns, in one owner
"""
