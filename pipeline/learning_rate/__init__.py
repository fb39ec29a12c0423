"""`subspace lr`: short trials of a run at several learning rates, from one start and on the same batches.

search          the command: what it needs, its trials one by one, the winner, the figures and the plot
families        families of networks, and the rates that were searched for them
rates           which rates are tried: a coarse row, then what lies beside the best
trials          RUN/lr/trials.json: what each trial came to, by all that it depends on
trial_training  one trial: the first batches of the plan, then the validation identities
cost            what the trials will take, before they begin
verdict         the best rate, and which others it cannot be told from
svg_panel       frames, lines and words as SVG text
plot            RUN/lr/lr.svg: figure and loss over the rate
"""
