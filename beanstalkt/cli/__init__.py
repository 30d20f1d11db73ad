"""The command line. Each group of verbs is a module of its own; `verbs` lists them."""
