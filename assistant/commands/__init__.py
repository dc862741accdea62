"""What the subcommands do, one module a family. Imported by `assistant.cli` when their command is run, never before."""
