"""The settings of a run: their models, their file, and what a command line changes in them.

config           the settings of a run, composed from the models beside the code that they steer
config_file      `subspace.yaml`, read with overrides on top, checked, and written
early_stop       when a run ends before its last round
overrides        settings of the command line that a run keeps
schedule_config  what jobs of a cluster ask for
yaml_text        YAML whose depth and size are known before it is built
"""
