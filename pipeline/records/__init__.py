"""What the small files of a run hold: a model each, which a file is checked against before anything trusts it.

begun_parts  begun.json beside unfinished parts of an embedding: what they depend on
examination  validation.json and evaluation.json: figures of a network
lock_note    .lock: the command at work
marker       done/STAGE.json: a stage has ended, and what it was made from
"""
