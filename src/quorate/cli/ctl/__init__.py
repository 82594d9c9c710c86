"""`quorate ctl`: etcdctl's v3 commands, with its flags, environment, forms and exit codes."""
