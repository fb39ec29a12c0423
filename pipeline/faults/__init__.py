"""What goes wrong with files, images and memory, and how it is noticed and said.

damaged_files        a damaged file of a run, and the command that remakes it
sealed_files         checksums of what finished stages have made, compared before it is used
unreadable_images    how many images of a stage may be unreadable, and the line when it is more
missing_in_training  the same step by step, before a step is taken
memory_advice        memory that ran out, and the settings that need less
said_once            of several processes that end alike, one says so
"""
